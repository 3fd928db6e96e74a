"""Rows as other tools and public datasets write them: what is rendered, or what is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.foreign_rows import CASES, Foreign, gpt, openai
from tunebook.commands.fork.sample import as_read, recognised
from tunebook.core.errors import InputError, Problem
from tunebook.data.sources import Source, read_rows_of

TALK = ["U: Is it open?", "A: It is shut."]


def short(row: dict[str, Any]) -> list[str]:
    """Return the conversation of a read row as tests/support/foreign_rows.py writes it."""
    lines = [f"S: {row['system']}"] if row.get("system") else []
    for turn in row["turns"]:
        if turn["content"]:
            lines.append(f"{turn['role'][0].upper()}{turn.get('weight', '')}: {turn['content']}")
        for call in turn.get("tool_calls", []):
            lines.append(f"C: {call['function']['name']} {call['function']['arguments']}")
    return lines


def read(case: Foreign) -> tuple[Any, list[str]]:
    """Return the first row as the fork's dataset.yaml has it read, and the notes."""
    own = case.fields
    found = recognised(as_read(case.rows, "a.jsonl", case.task, own), "a.jsonl", case.task, own)
    files = {"train": "a.jsonl", "dev": "b.jsonl", "test": "c.jsonl"}
    source = Source(files=files, reader=found.layout, columns=found.columns, **case.source)  # type: ignore[arg-type]
    rows = read_rows_of(source, iter(list(enumerate(case.rows, 1))), "a.jsonl")
    return next(iter(rows))[1], found.why


@pytest.mark.parametrize("case", [case for case in CASES if not case.fault], ids=lambda case: case.name)
def test_read(case: Foreign) -> None:
    row, why = read(case)
    assert not isinstance(row, Problem), row
    assert short(row) == case.turns
    assert row.get("rejected") == case.rejected
    assert tuple(tool["function"]["name"] for tool in row.get("tools", [])) == case.tools
    for word in case.says:
        assert any(word in line for line in why), why


@pytest.mark.parametrize("case", [case for case in CASES if case.fault], ids=lambda case: case.name)
def test_refused(case: Foreign) -> None:
    try:
        row, _ = read(case)
    except InputError as error:
        row = error.problems[0]
    assert isinstance(row, Problem), row
    assert f"{row.code} {row.key}" == case.fault


def shown(text: str) -> list[Any]:
    """Return the JSON objects in a message."""
    found, at = [], 0
    while (at := text.find("{", at)) >= 0:
        value, at = json.JSONDecoder().raw_decode(text, at)
        found.append(value)
    return found


CONVERTED = [case for case in CASES if case.fault.startswith("fork.needs_conversion")]


@pytest.mark.parametrize("case", CONVERTED, ids=lambda case: case.name)
def test_the_conversion_that_is_shown_is_one_that_is_read(case: Foreign) -> None:
    with pytest.raises(InputError) as caught:
        read(case)
    before, after = shown(str(caught.value))
    assert set(before) <= set(case.rows[0])
    row, _ = read(Foreign("converted", [after], task=case.task if "chosen" in after else "chat"))
    assert not isinstance(row, Problem), row


def test_the_better_answer_of_a_conversion_is_the_one_that_people_chose() -> None:
    better = {
        "PKU-SafeRLHF": "No.",
        "UltraFeedback, raw": "No.",
        "Nectar": "No.",
    }
    for case in CONVERTED:
        if case.name in better:
            with pytest.raises(InputError) as caught:
                read(case)
            assert shown(str(caught.value))[1]["chosen"] == better[case.name]


def test_the_number_of_the_better_answer_is_0_or_1() -> None:
    rows = [
        {"prompt": "Is it?", "response_0": "Yes.", "response_1": "No.", "safer_response_id": n} for n in "0x"
    ]
    case = Foreign("", rows, task="preference", fields={"better": "safer_response_id"})
    assert read(case)[0]["rejected"] == "No."
    columns = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "better": "safer_response_id"}
    files = {"train": "a.jsonl", "dev": "b.jsonl", "test": "c.jsonl"}
    source = Source(files=files, reader="preference", columns=columns)  # type: ignore[arg-type]
    problem = [row for _, row in read_rows_of(source, iter([*enumerate(rows, 1)]), "a.jsonl")][1]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.line, problem.key) == ("rows.no_vote", 2, "safer_response_id")


@pytest.mark.parametrize("answer", ['{"from": "Bergen", "text": "x"}', '[{"author": "Ibsen"}]', "### Human"])
def test_an_answer_that_looks_like_turns_is_a_text(answer: str) -> None:
    row, _ = read(Foreign("", [{"prompt": answer, "completion": answer}]))
    assert short(row) == [f"U: {answer}", f"A: {answer}"]


def test_turns_as_json_text_with_roles_of_their_own() -> None:
    turns = json.dumps(openai(*TALK, names="system Kundin Haus"))
    case = Foreign("", [{"messages": turns}], source={"roles": {"Kundin": "user", "Haus": "assistant"}})
    assert short(read(case)[0]) == TALK


@pytest.mark.parametrize("write", [json.dumps, str])
def test_lists_in_a_table(write: Any) -> None:
    """JSON, and what pandas writes into a CSV file."""
    turns = openai('U: It\'s "open"?', "A: It is\nshut.")
    assert short(read(Foreign("", [{"messages": write(turns)}]))[0]) == [
        'U: It\'s "open"?',
        "A: It is\nshut.",
    ]
    row = {"prompt": "Since when?", "completion": "Since noon.", "history": write([["Is it?", "It is."]])}
    assert short(read(Foreign("", [row]))[0])[:2] == ["U: Is it?", "A: It is."]


def test_calls_of_several_turns_are_joined() -> None:
    calls = [{"from": "function_call", "value": json.dumps({"name": name, "arguments": {}})} for name in "ab"]
    answers = [{"from": "observation", "value": value} for value in "12"]
    row = {"conversations": [*gpt(TALK[0]), *calls, *answers, *gpt(TALK[1])]}
    made = read(Foreign("", [row], source={"repair": ["join_turns"]}))[0]
    assert short(made) == [TALK[0], "C: a {}", "C: b {}", "T: 1", "T: 2", TALK[1]]
    assert made["repairs"] == ["join_turns"]


def test_turns_of_two_weights_are_not_joined() -> None:
    turns = [*openai(*TALK), {"role": "assistant", "content": "Or so.", "weight": 0}]
    found = read(Foreign("", [{"messages": turns}], source={"repair": ["join_turns"]}))[0]
    assert (found.code, found.key) == ("rows.bad_weight", "messages[2]")


def test_a_repair_that_changes_nothing_is_not_counted() -> None:
    source = {"repair": ["join_turns", "drop_opening", "drop_unanswered"]}
    made = read(Foreign("", [{"messages": openai(*TALK)}], source=source))[0]
    assert short(made) == TALK and "repairs" not in made


def test_text_about_a_call_stays_text() -> None:
    says = "A: Write <tool_call> before a call, and </tool_call> behind it."
    assert short(read(Foreign("", [{"messages": openai(TALK[0], says)}]))[0]) == [TALK[0], says]


@pytest.mark.parametrize(("value", "test"), [(False, "kto_tag"), ("False", "kto_tag == 'True'")])
def test_bad_rows_name_the_option_that_keeps_the_good_ones(value: Any, test: str) -> None:
    rows = [{"prompt": "Is it?", "completion": "No.", "kto_tag": given} for given in (value, str(value))]
    found = read(Foreign("", rows[:1]))[0]
    assert found.code == "rows.meaning_not_read" and f'WHERE="{test}"' in found.text


def test_transcripts_with_a_label_are_texts() -> None:
    rows = [
        {"text": f"Human: Is it number {n}?\n\nAssistant: It is.", "label": "ab"[n % 2]} for n in range(8)
    ]
    found = recognised(rows, "a.jsonl", None, {})
    assert (found.layout, found.task) == ("labels", "classification")


def test_unknown_columns_show_a_row_as_it_should_be() -> None:
    with pytest.raises(InputError) as caught:
        recognised([{"left": "Is it?", "right": "No."}], "a.jsonl", "chat", {})
    assert caught.value.code == "fork.unknown_columns"
    wanted, first = shown(str(caught.value))
    assert first == {"left": "Is it?", "right": "No."}
    assert not isinstance(read(Foreign("", [wanted]))[0], Problem)
