"""Every field of a row and of its turns: read, listed as not learned, or refused with the option."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import Problem
from tunebook.data.formats.meanings import MEANING_OF
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.values import dropped
from tunebook.data.sources import Source, read_rows_of

TALK = [{"role": "user", "content": "Is it shut?"}, {"role": "assistant", "content": "It is."}]
ROWS: dict[str, dict[str, Any]] = {
    "labels": {"text": "the kettle drips", "label": "a"},
    "qa": {"question": "Where?", "context": "In the shed.", "answers": ["shed"]},
    "chat": {"messages": TALK},
    "pairs": {"prompt": "Name a river.", "completion": "The Ebro."},
    "preference": {"prompt": "Name a river.", "chosen": "The Ebro.", "rejected": "No."},
}


def read(shape: str, row: dict[str, Any], **columns: str) -> Any:
    return next(iter(read_layout(iter([(1, row)]), shape, columns, "rows.jsonl")))[1]


def refused(shape: str, row: dict[str, Any], key: str, code: str = "rows.meaning_not_read") -> None:
    problem = read(shape, row)
    assert isinstance(problem, Problem), problem
    assert (problem.code, problem.key) == (code, key)


def planted(name: str) -> Any:
    """Return a value with which the field `name` has its meaning."""
    values: list[Any] = [
        "planted",
        "planted words",
        "planted and more words",
        True,
        False,
        "deleted",
        "analysis",
    ]
    values += ["error", [{"name": "planted"}]]
    return next(value for value in values if not MEANING_OF[name].neutral(value))


def texts(value: Any) -> str:
    """Return all text of a rendered row, to look for a planted one."""
    if isinstance(value, dict):
        return " ".join(map(texts, value.values()))
    return " ".join(map(texts, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("name", sorted(MEANING_OF.keys() - {"answer"}))  # means so by its value: below
def test_a_field_with_a_meaning_is_read_or_refused(shape: str, name: str) -> None:
    if name in ROWS[shape]:
        return
    result = read(shape, {**ROWS[shape], name: planted(name)})
    if MEANING_OF[name].of_answers and shape in ("labels", "qa"):
        assert result[name] == planted(name)  # listed: it says nothing of a label
    elif isinstance(result, Problem):
        assert result.code.startswith("rows.") and result.key and result.key.startswith(name)
    else:
        learned = {key: result[key] for key in ("system", "turns", "rejected", "tools") if key in result}
        assert "planted" in texts(learned)


@pytest.mark.parametrize("shape", ["chat", "preference"])
@pytest.mark.parametrize("name", sorted(MEANING_OF.keys() - {"answer"}))  # means so by its value: below
def test_a_turns_field_with_a_meaning_is_read_or_refused(shape: str, name: str) -> None:
    turns = [TALK[0], {**TALK[1], name: planted(name)}]
    row = (
        {"messages": turns}
        if shape == "chat"
        else {"chosen": turns, "rejected": "No.", "prompt": "Is it shut?"}
    )
    result = read(shape, row)
    assert isinstance(result, Problem) and result.code in ("rows.meaning_not_read", "rows.bad_weight")


def test_random_fields_are_accounted_for() -> None:
    """Rows with extra fields at every level: none with a meaning is passed over."""
    drawn = random.Random(7)
    meant = {name: meaning for name, meaning in MEANING_OF.items() if not meaning.of_answers}
    names = sorted(name for name, meaning in meant.items() if not meaning.neutral("planted text"))
    for _ in range(400):
        shape = drawn.choice([*ROWS])
        row = {**ROWS[shape], "id": "r1", "written": "2026-11-29"}
        extra = drawn.sample(names, drawn.randrange(3))
        row |= {name: f"planted {name}" for name in extra if name not in row}
        result = read(shape, row)
        if not isinstance(result, Problem):
            learned = texts({key: result.get(key) for key in ("system", "turns", "text", "rejected")})
            assert all(f"planted {name}" in learned for name in extra if name not in ROWS[shape])


SAFE = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": False, "filtered": False}}
TAKEN = {**SAFE, "violence": {"filtered": True, "severity": "high"}}


@pytest.mark.parametrize("shape", ["chat", "pairs", "preference", "labels"])
@pytest.mark.parametrize(
    ("field", "whole", "cut"),
    [
        ("finish_reason", "stop", "length"),
        ("finish_reason", "tool_calls", "content_filter"),
        ("finishReason", "STOP", "MAX_TOKENS"),  # Gemini's
        ("stop_reason", "end_turn", "refusal"),  # Anthropic's
        ("content_filter_results", SAFE, TAKEN),
        ("content_filter_results", json.dumps(SAFE), json.dumps(TAKEN)),  # in a table
        ("prompt_filter_results", [{"prompt_index": 0, "content_filter_results": SAFE}], [TAKEN]),
    ],
)
def test_an_answer_that_was_cut_off_or_blocked_is_refused(
    shape: str, field: str, whole: Any, cut: Any
) -> None:
    assert not isinstance(read(shape, {**ROWS[shape], field: whole}), Problem)
    problem = read(shape, {**ROWS[shape], field: cut})
    assert isinstance(problem, Problem) and problem.code == "rows.meaning_not_read"
    assert problem.key == field and f"DROP={field}" in str(problem)
    if shape == "chat":
        turn = {"messages": [TALK[0], {**TALK[1], field: cut}]}
        assert read(shape, turn).key == f"messages[1].{field}"


@pytest.mark.parametrize(
    ("shape", "field", "value", "option"),
    [
        ("pairs", "ground_truth", "The Douro.", "FIELDS="),
        ("pairs", "reference", "The Douro.", "FIELDS="),
        ("pairs", "reference", ["The Douro.", "The Tagus."], "FIELDS="),
        ("pairs", "edited_response", "The Douro.", "FIELDS="),
        ("pairs", "Corrected Output", "The Douro.", "FIELDS="),
        ("pairs", "goldAnswer", "The Douro.", "FIELDS="),
        ("labels", "corrected_label", "b", "FIELDS="),
        ("labels", "label_gold", "b", "FIELDS="),
        ("labels", "gold", "b", "FIELDS="),
        ("pairs", "ground_truth", 18, "FIELDS="),
        ("pairs", "ground_truth", "18 rivers.", "FIELDS="),
        ("chat", "refusal", "I cannot say.", "FIELDS="),
        ("labels", "confidence", 0.4, 'WHERE="confidence >= 0.8"'),
        ("labels", "confidence", "0.4", 'WHERE="confidence|float >= 0.8"'),
        ("labels", "confidence", "low", "WHERE=\"confidence == '...'\""),
        ("pairs", "feedback", "down", "WHERE=\"feedback == '...'\""),
        ("pairs", "rating", "2", 'WHERE="rating|float >= 4"'),
        ("chat", "deleted", True, 'WHERE="not deleted"'),
        ("chat", "is_deleted", "true", "WHERE=\"is_deleted != 'true'\""),
        ("qa", "status", "Discarded", "WHERE=\"status != 'Discarded'\""),
    ],
)
def test_another_answer_or_a_mark_beside_it_is_refused(
    shape: str, field: str, value: Any, option: str
) -> None:
    problem = read(shape, {**ROWS[shape], field: value})
    assert isinstance(problem, Problem) and (problem.code, problem.key) == ("rows.meaning_not_read", field)
    assert option in str(problem) and f"DROP={dropped([field])}" in str(problem)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference", "REF-1204"),
        ("reference", 1204),
        ("gold", False),
        ("confidence", 1.0),
        ("deleted", False),
        ("is_deleted", "no"),
        ("status", "solved"),
        ("final_price", "12"),
    ],
)
def test_what_only_looks_like_it_is_listed(field: str, value: Any) -> None:
    assert not isinstance(read("pairs", {**ROWS["pairs"], field: value}), Problem)


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, float("nan")])
def test_an_empty_field_says_nothing(value: Any) -> None:
    assert not isinstance(read("chat", {"messages": TALK, "images": value, "history": value}), Problem)


@pytest.mark.parametrize("name", ["weight", "loss_weight", "train", "training"])
@pytest.mark.parametrize("no", [0, 0.0, False])
def test_a_turns_weight_under_any_name(name: str, no: Any) -> None:
    turns = [*TALK[:1], {**TALK[1], name: no}, *TALK[:1], {**TALK[1], name: 1}]
    made = read("chat", {"messages": turns})
    assert [turn.get("weight") for turn in made["turns"]] == [None, 0, None, 1]


def test_a_weight_between_is_refused() -> None:
    refused(
        "chat",
        {"messages": [TALK[0], {**TALK[1], "loss_weight": 0.5}]},
        "messages[1].loss_weight",
        "rows.bad_weight",
    )


def test_false_on_a_users_turn_is_what_happens_anyway() -> None:
    assert not isinstance(read("chat", {"messages": [{**TALK[0], "train": False}, TALK[1]]}), Problem)


def test_a_weight_of_one_row_is_refused_unless_it_is_one() -> None:
    refused("pairs", {**ROWS["pairs"], "weight": 0.2}, "weight")
    assert not isinstance(read("pairs", {**ROWS["pairs"], "weight": 1.0}), Problem)


def test_history_of_pairs_becomes_turns() -> None:
    row = {"instruction": "And then?", "output": "At two.", "history": [["When?", "At one."]]}
    made = read("pairs", row, prompt="instruction", completion="output")
    assert [turn["content"] for turn in made["turns"]] == ["When?", "At one.", "And then?", "At two."]


def test_a_second_history_is_refused() -> None:
    earlier = [["When?", "At one."]]
    refused("pairs", {**ROWS["pairs"], "history": earlier, "chat_history": earlier}, "chat_history")


def test_two_system_prompts_that_differ_are_refused() -> None:
    turns = [{"role": "system", "content": "Be short."}, *TALK]
    refused("chat", {"messages": turns, "system": "Be long."}, "system", "rows.two_systems")
    assert read("chat", {"messages": turns, "system": "Be short."})["system"] == "Be short."
    assert read("chat", {"messages": TALK, "system_prompt": "Be kind."})["system"] == "Be kind."


def test_kto_rows_are_refused() -> None:
    refused("pairs", {**ROWS["pairs"], "label": False}, "label")


def test_a_pair_that_parts_before_its_last_turn_is_refused() -> None:
    other = [TALK[0], {"role": "assistant", "content": "Go away."}, {"role": "user", "content": "Why?"}]
    chosen = [*TALK, {"role": "user", "content": "Since when?"}, TALK[1]]
    refused("preference", {"chosen": chosen, "rejected": [*other, TALK[1]]}, "rejected", "rows.pair_diverges")


def test_llama_factorys_pairs() -> None:
    row = {
        "conversations": [{"from": "human", "value": "Is it shut?"}],
        "chosen": {"from": "gpt", "value": "It is."},
        "rejected": {"from": "gpt", "value": "No idea."},
    }
    made = read("preference", row)
    assert (made["turns"][-1]["content"], made["rejected"]) == ("It is.", "No idea.")


def test_parts_of_llama_factorys_v1() -> None:
    turns = [{**turn, "content": [{"type": "text", "value": turn["content"]}]} for turn in TALK]
    assert texts(read("chat", {"messages": turns})["turns"]) == texts(TALK)


@pytest.mark.parametrize("answer", ['{"name": "Ebro"}', "[1, 2]", "{river} runs", "[INST] Name it."])
def test_a_text_that_looks_like_json_stays_a_text(answer: str) -> None:
    made = read("preference", {"prompt": answer, "chosen": answer, "rejected": "No."})
    assert [turn["content"] for turn in made["turns"]] == [answer, answer]


def test_turns_as_json_text() -> None:
    assert read("chat", {"messages": json.dumps(TALK)})["turns"] == TALK


@pytest.mark.parametrize(
    ("value", "written"), [(True, "true"), (False, "false"), (0, "0"), (1.5, "1.5"), (10**20, f"{10**20}")]
)
def test_values_are_written_as_in_json(value: Any, written: str) -> None:
    assert read("pairs", {"prompt": "Is it?", "completion": value})["turns"][-1]["content"] == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_nobody_wrote_is_no_text(value: Any) -> None:
    assert isinstance(read("labels", {"text": "the kettle", "label": value}), Problem)
    assert isinstance(read("pairs", {"prompt": value, "completion": "yes"}), Problem)


def test_what_is_dropped_on_purpose_is_gone(tmp_path: Path) -> None:
    source = Source(
        files={"train": "t.jsonl", "dev": "d.jsonl", "test": "e.jsonl"},
        reader="chat",
        drop=["thinking", "score"],
    )
    row = {"messages": [TALK[0], {**TALK[1], "thinking": "Hm."}], "score": 3}
    made = next(iter(read_rows_of(source, iter([(1, row)]), "t.jsonl")))[1]
    assert made == {"system": "", "turns": TALK}


def test_labels_by_number_get_the_names_that_a_parquet_file_notes(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    from tunebook.data.files.tables import read_table

    features = {"label": {"names": ["leak", "noise"], "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    note = json.dumps({"info": {"features": features}}).encode()
    table = pyarrow.table({"text": ["it drips", "it hums", "what"], "label": [0, 1, -1]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"huggingface": note}), tmp_path / "a.parquet")
    assert [row["label"] for _, row in read_table(tmp_path / "a.parquet")] == ["leak", "noise", None]


@pytest.mark.parametrize("value", ["accept", "reject", "ignore"])
def test_a_label_that_was_rejected_is_refused(value: str) -> None:
    result = read("labels", {**ROWS["labels"], "answer": value})
    if value == "accept":
        assert not isinstance(result, Problem)
    else:
        assert isinstance(result, Problem) and (result.code, result.key) == (
            "rows.meaning_not_read",
            "answer",
        )


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        (["2026-03-02T10:05:00Z", "2026-03-02T10:04:00Z"], True),
        ([1700000005, 1700000004.5], True),
        (["1700000005.000200", "1700000004.000100"], True),  # Slack's
        (["2026-03-02T10:04:00Z", "2026-03-02T10:05:00Z"], False),
        ([1700000004, 1700000004], False),
        ([1700000005, "2026-03-02T10:04:00Z"], False),
        (["Tuesday", "Monday"], False),
    ],
)
def test_turns_from_newest_to_oldest_are_refused(times: list[Any], refused: bool) -> None:
    turns = [{**turn, "ts": time} for turn, time in zip(TALK, times, strict=True)]
    found = read("chat", {"messages": turns})
    assert (getattr(found, "code", "") == "rows.newest_first") == refused
