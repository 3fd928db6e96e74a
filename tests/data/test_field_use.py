"""What happens to every field: learned, used otherwise, listed as not learned, or refused by its name.

The rows have fields at random places, in every layout and for templates without a reader. A failure names the
seed that made the row.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError, Problem
from tunebook.data.dataset import Dataset
from tunebook.data.field_use.find import uses
from tunebook.data.field_use.show import EXAMPLE_LENGTH, Use, example
from tunebook.data.formats.leaves import changed, leaves, objects, without_fields
from tunebook.data.formats.meaning.meanings import MEANING_OF
from tunebook.data.render import each_row

Row = dict[str, Any]
TALK = [
    {"role": "user", "content": "Is the door of shed 9 shut?"},
    {"role": "assistant", "content": "It is."},
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "tide", "arguments": '{"quay": "Otter"}'}}
TOOL = {"type": "function", "function": {"name": "tide", "parameters": {"properties": {"quay": {}}}}}
PARTS = [{"type": "text", "text": "And of "}, {"type": "text", "text": "shed 8?"}]
TREE = {"message_tree_id": "t1", "lang": "en"}
CHAT = {"task": "chat", "turns": "turns", "system": "{{ system }}", "prompt": "{{ content }}"}
LABELLED = {
    "task": "classification",
    "labels": ["tap", "pot"],
    "system": "",
    "prompt": "{{ text }}",
    "answer": "{{ label }}",
}
QA = {
    "task": "qa",
    "answers": "answers",
    "no_answer": "none",
    "system": "",
    "prompt": "{{ question }}{{ context }}",
}
# Of each format: the settings of its dataset, and rows.
FORMATS: dict[str, tuple[Row, str | None, list[Row]]] = {
    "labels": (LABELLED, "labels", [{"text": "the kettle drips", "label": "tap"}]),
    "qa": (
        QA,
        "qa",
        [{"question": "Where is it?", "context": "In the shed.", "answers": [{"text": "shed"}]}],
    ),
    "squad": (
        QA,
        "squad",
        [
            {
                "title": "Sheds",
                "paragraphs": [
                    {
                        "context": "It is in the shed.",
                        "qas": [
                            {
                                "id": "q1",
                                "question": "Where?",
                                "answers": [{"text": "shed", "answer_start": 13}],
                                "is_impossible": False,
                            }
                        ],
                    }
                ],
            }
        ],
    ),
    "chat": (CHAT, "chat", [{"id": "c1", "messages": [*TALK, {"role": "user", "content": PARTS}, TALK[1]]}]),
    "chat with tools": (
        {**CHAT, "tools": "tools"},
        "chat",
        [
            {
                "tools": [TOOL],
                "messages": [
                    TALK[0],
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "At 9.30."},
                    TALK[1],
                ],
            }
        ],
    ),
    "ShareGPT": (
        CHAT,
        "chat",
        [{"messages": [{"from": "human", "value": "Is it shut?"}, {"from": "gpt", "value": "It is."}]}],
    ),
    "messages as JSON text": (CHAT, "chat", [{"messages": json.dumps(TALK)}]),
    "pairs": (CHAT, "pairs", [{"prompt": "Name a river.", "input": "In Spain.", "completion": "The Ebro."}]),
    "preference": (
        {**CHAT, "task": "preference", "rejected": "{{ rejected }}"},
        "preference",
        [{"prompt": "Name a river.", "chosen": TALK[1], "rejected": {"role": "assistant", "content": "No."}}],
    ),
    "oasst_best_paths": (
        {**CHAT, "system": ""},
        "oasst_best_paths",
        [
            {
                **TREE,
                "message_id": "m1",
                "parent_id": None,
                "role": "prompter",
                "text": "Name a river.",
                "rank": None,
            },
            {
                **TREE,
                "message_id": "m2",
                "parent_id": "m1",
                "role": "assistant",
                "text": "The Ebro.",
                "rank": 0,
            },
            {
                **TREE,
                "message_id": "m3",
                "parent_id": "m1",
                "role": "assistant",
                "text": "The Rio.",
                "rank": 1,
            },
        ],
    ),
    "no reader": (LABELLED, None, [{"text": "the kettle drips", "label": "tap"}]),
    "no reader, turns": (CHAT, None, [{"system": "Be brief.", "turns": TALK}]),
}


def dataset(folder: Path, settings: Row, reader: str | None, rows: list[Row], **source: Any) -> Dataset:
    home = folder / "rows"
    home.mkdir(exist_ok=True)
    (home / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = {"files": dict.fromkeys(("train", "dev", "test"), "a.jsonl"), "reader": reader, **source}
    base = {"folder": home, "name": "rows", "licence": "none", "source": made}
    return Dataset.model_validate({**base, **settings})


def faults(made: Dataset) -> list[Problem]:
    return [one.value for one in each_row(made, "train") if isinstance(one.value, Problem)]


def planted(rows: list[Row], drawn: random.Random, name: str, value: Any) -> tuple[list[Row], str]:
    """Return copies of `rows` with a field in one of their objects, at any depth, and its path."""
    where = drawn.choice([leaf for leaf in objects(rows) if leaf.at])
    path = f"{where.path}.{name}".removeprefix("[].")
    return changed(rows, where.at, {**where.value, name: value}), path


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_field_at_any_place_is_learned_or_listed(name: str, tmp_path: Path) -> None:
    settings, reader, rows = FORMATS[name]
    for seed in range(40):
        some, path = planted(rows, random.Random(seed), "extra", "zebra crossing")
        made = dataset(tmp_path, settings, reader, some)
        assert not faults(made), f"seed {seed}: {path}"
        found = {use.path: use for use in uses(made)}
        (row, *_) = [one.value for one in each_row(made, "train")]
        arrived = "zebra crossing" in json.dumps(row)
        above = [use for use in found.values() if path.startswith((f"{use.path}.", f"{use.path}["))]
        above = [found[path]] if path in found else above
        assert [use.fate == "learned" for use in above] == [arrived], f"seed {seed}: {path} in {found}"


PLANTED: list[Any] = [
    "zebra crossing",
    "zebra crossing the road",
    True,
    False,
    "deleted",
    "error",
    [{"zebra": 1}],
]
PLANTED.append("analysis")
WITHOUT_ANSWERS = ("labels", "qa", "squad", "no reader", "no reader, turns", "oasst_best_paths")


@pytest.mark.parametrize("name", FORMATS)
def test_a_field_with_a_meaning_at_any_place_is_learned_or_refused(name: str, tmp_path: Path) -> None:
    settings, reader, rows = FORMATS[name]
    # `answer` says so with the words of Prodigy only; with others it is a text like any other.
    names = sorted(set(MEANING_OF) - {"chosen", "rejected", "answer"})
    for seed in range(60):
        drawn = random.Random(seed)
        meant = drawn.choice(names)
        if (name, meant) == ("oasst_best_paths", "deleted"):
            continue  # its reader drops such messages
        if MEANING_OF[meant].of_answers and name in WITHOUT_ANSWERS:
            continue
        value = next(one for one in PLANTED if not MEANING_OF[meant].neutral(one))
        some, path = planted(rows, drawn, meant, value)
        made = dataset(tmp_path, settings, reader, some)
        found = faults(made)
        if found:
            assert found[0].code.startswith("rows.") and meant in str(found[0].key), f"seed {seed}: {path}"
        else:
            (row, *_) = [one.value for one in each_row(made, "train")]
            # a tool is rendered with all its keys
            kept = meant if isinstance(value, bool) else "zebra" if isinstance(value, list) else value
            assert kept in json.dumps(row), f"seed {seed}: {path} was passed over"


@pytest.mark.parametrize("name", FORMATS)
def test_every_value_of_a_row_is_in_one_list(name: str, tmp_path: Path) -> None:
    settings, reader, rows = FORMATS[name]
    found = uses(dataset(tmp_path, settings, reader, rows))
    there = {leaf.path.removeprefix("[].") for leaf in leaves(rows)}
    listed = {use.path for use in found}
    assert all(any(path == one or path.startswith(f"{one}.") for one in listed) for path in there)
    assert len(listed) == len(found)


@pytest.mark.parametrize("name", FORMATS)
def test_texts_arrive_unchanged(name: str, tmp_path: Path) -> None:
    """What is listed as learned stands in the rendered row as it was."""
    settings, reader, rows = FORMATS[name]
    made = dataset(tmp_path, settings, reader, rows)
    (row, *_) = [one.value for one in each_row(made, "train")]
    whole = json.dumps(row, ensure_ascii=False)
    learned = {use.path for use in uses(made) if use.fate == "learned" and not use.partly}
    for leaf in leaves(rows):
        path = leaf.path.removeprefix("[].")
        words = isinstance(leaf.value, str) and " " in leaf.value and path in learned
        if words and leaf.value != "The Rio.":  # of a lower rank
            assert leaf.value.strip() in whole.replace("\\\\", "\\"), path


def use_of(made: Dataset, path: str) -> Use:
    (found,) = [use for use in uses(made) if use.path == path]
    return found


def test_ids_groups_and_times_are_used_and_not_learned(tmp_path: Path) -> None:
    row = {"id": "r1", "text": "the kettle drips", "label": "tap", "shop": "s1", "day": "2026-11-29"}
    settings = {**LABELLED, "group": "shop"}
    source = {"files": {"train": "a.jsonl"}, "dev_share": 0.1, "test_share": 0.1, "by_time": "day"}
    made = dataset(tmp_path, settings, "labels", [row], **source)
    assert [use_of(made, path).fate for path in ("id", "shop", "day", "text", "label")] == [
        *["used"] * 3,
        *["learned"] * 2,
    ]


def test_turns_after_the_last_trained_one_are_learned_in_part(tmp_path: Path) -> None:
    turns = [
        TALK[0],
        {**TALK[1], "weight": 1},
        {"role": "user", "content": "Thank you."},
        {**TALK[1], "weight": 0},
    ]
    use = use_of(dataset(tmp_path, CHAT, "chat", [{"messages": turns}]), "messages[].content")
    assert (use.fate, use.partly, use.count) == ("not learned", "1 of 4", 4)
    assert use.examples[0] == "'Thank you.'"


def test_a_passage_of_which_a_window_is_learned(tmp_path: Path) -> None:
    passage = " ".join(f"Shed {n} has door {n * 7}." for n in range(200))
    answer = {"text": "door 693", "answer_start": passage.index("door 693")}
    row = {"question": "Which door has shed 99?", "context": passage, "answers": [answer], "note": "x"}
    made = dataset(tmp_path, QA, "qa", [row], window=60)
    assert [use_of(made, path).fate for path in ("context", "note")] == ["learned", "not learned"]


def test_a_prompt_that_only_repeats_what_is_learned(tmp_path: Path) -> None:
    """TRL's pairs: the conversations hold the prompt, too. Another prompt than theirs is not learned."""
    settings, reader, _ = FORMATS["preference"]
    row = {"prompt": TALK[0]["content"], "chosen": TALK, "rejected": [TALK[0], {**TALK[1], "content": "No."}]}
    assert use_of(dataset(tmp_path, settings, reader, [row]), "prompt").fate == "learned"
    row["prompt"] = "Quite another question?"
    assert use_of(dataset(tmp_path, settings, reader, [row]), "prompt").fate == "not learned"


def test_a_weight_of_one_and_a_score_that_is_only_checked_are_not_learned(tmp_path: Path) -> None:
    settings, reader, rows = FORMATS["pairs"]
    made = dataset(tmp_path, settings, reader, [{**rows[0], "weight": 1.0}])
    assert use_of(made, "weight").fate == "not learned"
    settings, reader, rows = FORMATS["preference"]
    made = dataset(tmp_path, settings, reader, [{**rows[0], "chosen_score": 4.5, "rejected_score": 2}])
    assert {use_of(made, f"{half}_score").fate for half in ("chosen", "rejected")} == {"used"}


def test_a_field_left_out_on_purpose_is_listed_as_such(tmp_path: Path) -> None:
    row = {"messages": [TALK[0], {**TALK[1], "thinking": "Hm."}], "meta": {"score": 3}}
    made = dataset(tmp_path, CHAT, "chat", [row], drop=["thinking", "meta.score"])
    assert not faults(made)
    for path in ("messages[].thinking", "meta.score"):
        assert (use_of(made, path).fate, use_of(made, path).dropped) == ("not learned", True)


def test_what_a_refusal_names_leaves_the_field_out(tmp_path: Path) -> None:
    for name, (settings, reader, rows) in FORMATS.items():
        some, path = planted(rows, random.Random(3), "reasoning", "Hm.")
        refused = faults(dataset(tmp_path, settings, reader, some))
        if refused:
            drop = path.replace("[]", "")
            assert f"DROP={drop}" in refused[0].text or "DROP=reasoning" in refused[0].text, refused[0]
            assert not faults(dataset(tmp_path, settings, reader, some, drop=[drop])), (name, path)


def test_leaving_a_field_out_spares_tools_and_answers_that_are_json() -> None:
    row = {
        "score": 1,
        "messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {"score": 2}}}]}],
        "completion": '{"score": 3}',
        "meta": {"score": 4},
    }
    left = without_fields(row, ["score"])
    assert left == {"messages": row["messages"], "completion": row["completion"], "meta": {}}
    assert without_fields(row, ["meta.score"]) == {**row, "meta": {}}
    turns = json.dumps([{"role": "user", "content": "a", "thinking": "b"}])
    assert json.loads(without_fields({"m": turns}, ["thinking"])["m"]) == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("value", ["\x1b[31mred\n\u202eok", "a" * 500, {"b": "\x07"}, 3.5, True])
def test_an_example_is_one_short_line_without_control_characters(value: Any) -> None:
    text = example(value)
    assert len(text) <= EXAMPLE_LENGTH + 20 and text.isprintable()


def test_a_row_nested_too_deeply_is_left_to_the_reader(tmp_path: Path) -> None:
    deep: Any = "end"
    for _ in range(900):
        deep = {"a": deep}
    made = dataset(tmp_path, CHAT, "chat", [{"messages": TALK}, {"messages": TALK, "more": deep}])
    uses(made)
    try:
        assert all(problem.code == "rows.nested_too_deeply" for problem in faults(made))
    except InputError as error:
        assert error.code == "rows.nested_too_deeply"
