"""datasets/general: what each conversation is, that all differ, and that no evaluation text is among them."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.describe_dataset import describe_conversations
from tunebook.core.files import Row, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.core.words import words
from tunebook.data.near_duplicates import Index, Prompt
from tunebook.report.markdown_blocks import block

FOLDER = ROOT / "datasets" / "general"
ROWS = read_jsonl(FOLDER / "train.jsonl")
OWN, PUBLIC = 6, 8  # words in a row shared with our own evaluation texts, with public ones


def said(row: Row, role: str) -> str:
    return "\n".join(turn["content"] for turn in row["messages"] if turn["role"] == role)


def runs_of(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def strings(value: Any) -> Iterator[str]:
    """Yield all strings of a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of a file of rows, of a table or of prose."""
    raw = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        yield from strings([json.loads(line) for line in raw.split("\n") if line.strip()])
    elif path.suffix in (".json", ".yaml"):
        yield from strings(yaml.safe_load(raw) if path.suffix == ".yaml" else json.loads(raw))
    elif path.suffix == ".csv":
        yield from strings(list(csv.reader(raw.splitlines())))
    else:
        yield from raw.split("\n")


def held_out() -> list[Path]:
    """Our own evaluation texts: all of evals/, dev and test of every dataset here."""
    evals = [path for name in ("retention", "style", "judge") for path in (ROOT / "evals" / name).iterdir()]
    return evals + [
        path for split in ("dev", "test") for path in (ROOT / "datasets").glob(f"*/source/{split}.jsonl")
    ]


def public() -> list[Path]:
    folder = os.environ.get("TUNEBOOK_TEST_DATA")
    if not folder:
        pytest.skip("TUNEBOOK_TEST_DATA is not set: no real data here")
    names = ("arc_easy/test", "banking77/test", "gsm8k/test", "hellaswag/val", "ifeval/input", "mmlu/test")
    names += ("oasst1_en/validation", "squad/", "text_ppl/wiki")
    paths = [path for path in Path(folder).glob("*/*") if path.name != "SOURCE.txt"]
    return [path for path in paths if path.relative_to(folder).as_posix().startswith(names)]


def shared(rows: list[Row], paths: list[Path], length: int) -> list[tuple[str, str, str]]:
    """Return which row shares which run of `length` words, or its whole prompt, with which file."""
    mine: dict[tuple[str, ...], str] = {}
    for row in rows:
        mine[tuple(words(said(row, "user")))] = row["id"]
        for role in ("user", "assistant"):
            mine |= dict.fromkeys(runs_of(said(row, role), length), row["id"])
    found, read = [], 0
    for path in paths:
        for text in texts_of(path):
            read += 1
            runs = runs_of(text, length) | {tuple(words(text))}
            found += [(mine[run], path.name, " ".join(run)) for run in runs & mine.keys()]
    assert read > 1000
    return found


def test_nothing_is_shared_with_our_evaluation_texts() -> None:
    assert shared(ROWS, held_out(), OWN) == []


@pytest.mark.parametrize(
    "planted", ["Name a fruit that is yellow!", "The rain had stopped by the time he woke."]
)
def test_what_is_shared_is_found(planted: str) -> None:
    """A short prompt, and the first six words and more of a passage."""
    row = {"id": "planted", "messages": [{"role": "user", "content": planted}]}
    assert shared([row], held_out(), OWN)


@pytest.mark.slow
def test_nothing_is_shared_with_public_evaluation_texts() -> None:
    assert shared(ROWS, public(), PUBLIC) == []


def test_rows_are_conversations_of_a_kind() -> None:
    assert len(ROWS) >= 420
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row) == {"id", "kind", "messages"}
        roles = [turn["role"] for turn in row["messages"] if turn["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles, row["id"]
        assert all(turn["content"] == turn["content"].strip() != "" for turn in row["messages"]), row["id"]
        assert all(turn["role"] != "system" for turn in row["messages"][1:]), row["id"]
        assert sum(len(turn["content"].split()) for turn in row["messages"]) <= 200, row["id"]
    kinds = Counter(row["kind"] for row in ROWS)
    assert len(kinds) >= 16 and max(kinds.values()) <= len(ROWS) / 4


def test_every_stretch_of_the_file_has_many_kinds() -> None:
    """Whoever takes a share of the rows, from wherever, gets a mixture."""
    for start in range(len(ROWS) - 60):
        assert len({row["kind"] for row in ROWS[start : start + 60]}) >= 12


def test_no_two_conversations_are_near_duplicates() -> None:
    for role in ("user", "assistant"):
        texts = [Prompt(words(said(row, role)), "", row["id"]) for row in ROWS]
        assert [(texts[a].group, texts[b].group) for a, b, _ in Index(texts).near()] == []
        assert len({" ".join(text.words) for text in texts}) == len(texts), role


def test_no_frame_and_no_opening_repeats() -> None:
    for role in ("user", "assistant"):
        frames = Counter(run for row in ROWS for run in runs_of(said(row, role), 6))
        assert frames.most_common(1)[0][1] <= 3, role
        openings = Counter(" ".join(words(said(row, role))[:3]) for row in ROWS)
        assert openings.most_common(1)[0][1] <= len(ROWS) * 0.02, role


def test_answers_that_are_code_or_json_can_be_read() -> None:
    python = [
        code for row in ROWS for code in re.findall(r"```python\n(.*?)```", said(row, "assistant"), re.DOTALL)
    ]
    objects = [said(row, "assistant") for row in ROWS if said(row, "assistant")[0] in "{["]
    assert len(python) >= 8 and len(objects) >= 10
    for code in python:
        ast.parse(code)
    for text in objects:
        json.loads(text)


def test_the_card_has_the_numbers_of_the_file() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert block(card, "measured").rstrip() == describe_conversations(ROWS)
