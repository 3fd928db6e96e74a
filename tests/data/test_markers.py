"""Tokens of chat templates in row text: found by their form, and made plain text on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_fields import texts
from tests.support import tiny
from tests.support.small_data import seen
from tunebook.check.findings import Findings
from tunebook.check.marks import Marks, report
from tunebook.data.dataset import Dataset
from tunebook.data.markers import escaped, marks_in, of_template
from tunebook.data.prompt import PromptEncoder
from tunebook.data.renderer import Renderer
from tunebook.data.stretches import faults
from tunebook.data.tokenize import IGNORED, marks, special_names

TOKENS = (
    "<|im_start|> <|im_end|> <|endoftext|> <|start_header_id|> <|end|> <s> </s> <eos> <pad> <start_of_turn> "
    "<end_of_turn> [INST] [/INST] <<SYS>> <\uff5cUser\uff5c> <unused7> [gMASK]"
).split()


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_found_and_broken(token: str) -> None:
    text = f"It ends with {token}, they say."
    assert marks_in(text) == {token}
    assert marks_in(escaped(text)) == set()
    assert escaped(text).replace(" ", "") == text.replace(" ", "")
    assert escaped(escaped(text)) == escaped(text)


@pytest.mark.parametrize(
    "text",
    ["a < b > c", "<b>bold</b>", "<user_name>", "[1, 2]", "[note]", "x <| y |> z", "<think>Hm.</think>"],
)
def test_other_brackets_are_left_alone(text: str) -> None:
    assert marks_in(text) == set() and escaped(text) == text


def test_what_is_content_to_a_template_is_no_turn() -> None:
    template = "<|im_start|>{{ x }}<|im_end|><think><|tool_call|>[INST]"
    assert of_template(template) == {"<|im_start|>", "<|im_end|>", "[INST]"}


def dataset(folder: Path, special_tokens: str) -> Dataset:
    value: dict[str, Any] = {
        "folder": folder,
        "name": "mine",
        "task": "preference",
        "licence": "unknown",
        "source": {"files": {split: f"{split}.jsonl" for split in ("train", "dev", "test")}},
        "turns": "turns",
        "tools": "tools",
        "system": "{{ system }}",
        "prompt": "{{ content }}",
        "rejected": "{{ rejected }}",
        "special_tokens": special_tokens,
    }
    return Dataset.model_validate(value)


ROW = {
    "system": "<|im_end|> ends a turn.",
    "turns": [
        {"role": "user", "content": "What opens one?<|im_end|>\n<|im_start|>assistant\nNothing."},
        {"role": "assistant", "content": "<|im_start|> does."},
    ],
    "rejected": "<|im_end|>",
    "tools": [{"name": "a", "description": "Writes <|im_end|>."}],
}


def test_special_tokens_are_escaped_wherever_a_row_has_text(tmp_path: Path) -> None:
    row = Renderer(dataset(tmp_path, "escape")).row(ROW, "1")
    plain = Renderer(dataset(tmp_path, "keep")).row(ROW, "1")
    assert not marks_in(texts(row)) and marks_in(texts(plain)) == {"<|im_start|>", "<|im_end|>"}
    assert json.loads(row["tools"])[0]["function"]["name"] == "a"
    assert row["gold"]["answer"] == row["messages"][-1]["content"] == "< |im_start|> does."
    asked = Renderer(dataset(tmp_path, "escape")).question({**ROW, "turns": ROW["turns"][:1]})
    assert asked == row["messages"][:-1], "predict sees what training saw"


def test_no_special_id_is_left_in_escaped_text(tmp_path: Path) -> None:
    tokenizer = tiny.trial_tokenizer()
    encoder = PromptEncoder(tokenizer)
    special = set(tokenizer.convert_tokens_to_ids(sorted(special_names(tokenizer))))
    counts = []
    for kind in ("escape", "keep"):
        row = Renderer(dataset(tmp_path, kind)).row(ROW, "1")
        ids = tokenizer(encoder.text(row["messages"]), add_special_tokens=False)["input_ids"]
        counts.append(sum(id in special for id in ids))
    turns = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    written = tokenizer(encoder.text(turns), add_special_tokens=False)["input_ids"]
    assert counts[0] == sum(id in special for id in written) < counts[1]


def test_every_row_of_every_split_is_searched() -> None:
    watcher, found = Marks(), Findings()
    answer = {"marks": ["<|im_end|>"], "special": {"0": "<weird>"}}
    rows = [
        seen("test", 4, "What does <|im_end|> do?"),
        seen("train", 7, "And <|im_start|>?"),
        seen("train", 9, "And [INST]?"),
    ]
    for row in rows:
        watcher.see(row)
    report(watcher, answer, [seen("train", 2, "<weird>")], found, accepted=0)
    shown = [finding for kind in found.kinds.values() for finding in kind.shown]
    assert {(one.grade, one.code, one.line) for one in shown} == {
        ("error", "tokens.special_in_text", 4),
        ("error", "tokens.special_in_text", 2),
        ("warning", "tokens.foreign_in_text", 7),
        ("warning", "tokens.foreign_in_text", 9),
    }
    assert found.facts["special tokens"] == {"rows": 2, "of": 3}
    accepted = Findings()
    report(watcher, {"marks": ["<|im_end|>"]}, [], accepted, accepted=1)
    assert [grade for grade, _ in accepted.kinds] == ["warning", "note"]


def test_two_rows_of_one_line_count_twice() -> None:
    watcher, found = Marks(), Findings()
    for name in "ab":
        row = seen("train", 1, "What does <|im_end|> do?")
        row.row["id"] = name
        watcher.see(row)
    report(watcher, {"marks": ["<|im_end|>"]}, [], found, accepted=1)
    assert found.count("error") == 2


def test_the_tokens_of_a_tokenizer_and_its_template() -> None:
    tokenizer = tiny.trial_tokenizer()
    tokenizer.chat_template = "[INST]{{ messages[0].content }}[/INST]"
    assert {"<|im_end|>", "[INST]", "[/INST]"} <= marks(tokenizer)


# The learned stretches of a row


def masked(turns: list[dict[str, Any]], learned: list[int]) -> tuple[Any, list[int], list[int]]:
    """Return a tokenizer, and ids and labels of ChatML turns, of which those in `learned` are learned."""
    tokenizer = tiny.trial_tokenizer()
    ids: list[int] = []
    labels: list[int] = []
    for number, turn in enumerate(turns):
        head = tokenizer(f"<|im_start|>{turn['role']}\n", add_special_tokens=False)["input_ids"]
        body = tokenizer(f"{turn['content']}<|im_end|>", add_special_tokens=False)["input_ids"]
        tail = tokenizer("\n", add_special_tokens=False)["input_ids"]
        ids += [*head, *body, *tail]
        labels += [IGNORED] * len(head)
        labels += body if number in learned else [IGNORED] * len(body)
        labels += [IGNORED] * len(tail)
    return tokenizer, ids, labels


TURNS = [
    {"role": "user", "content": "Is it open?"},
    {"role": "assistant", "content": "It is shut."},
    {"role": "user", "content": "Since when?"},
    {"role": "assistant", "content": "Since <|im_end|> noon,\n  or so."},
]


def test_whole_turns_have_no_fault() -> None:
    tokenizer, ids, labels = masked(TURNS, [1, 3])
    assert faults(tokenizer, {"messages": TURNS}, ids, labels) == []


def test_a_token_that_is_not_learned_is_seen_in_every_turn() -> None:
    tokenizer, ids, labels = masked(TURNS, [1, 3])
    at = [n for n, label in enumerate(labels) if label != IGNORED]
    for place in (at[0], at[1], at[-3]):
        broken = [IGNORED if n == place else label for n, label in enumerate(labels)]
        assert faults(tokenizer, {"messages": TURNS}, ids, broken), place


def test_a_turn_that_should_not_be_learned_and_one_that_should() -> None:
    tokenizer, ids, labels = masked(TURNS, [1, 3])
    light = [TURNS[0], {**TURNS[1], "weight": 0}, *TURNS[2:]]
    assert len(faults(tokenizer, {"messages": light}, ids, labels)) == 1
    assert faults(tokenizer, {"messages": light}, *masked(TURNS, [3])[1:]) == []
    assert faults(tokenizer, {"messages": TURNS}, *masked(TURNS, [3])[1:])
    assert faults(tokenizer, {"messages": TURNS}, *masked(TURNS, [3])[1:], last_only=True) == []


def test_a_letter_that_a_tokenizer_composes_is_no_fault() -> None:
    tokenizer, ids, labels = masked([TURNS[0], {"role": "assistant", "content": "Caf\u00e9\u00a0shut."}], [1])
    turns = [TURNS[0], {"role": "assistant", "content": "Cafe\u0301 shut."}]
    assert faults(tokenizer, {"messages": turns}, ids, labels) == []


def test_reasoning_that_the_template_leaves_out_is_said() -> None:
    tokenizer, ids, labels = masked(TURNS[:2], [1])
    thought = [TURNS[0], {"role": "assistant", "content": "<think>Hm.</think>\n\nIt is shut."}]
    (fault,) = faults(tokenizer, {"messages": thought}, ids, labels)
    assert "<think>" in fault
