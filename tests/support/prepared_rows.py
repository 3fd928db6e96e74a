"""Rows as Axolotl prepares them, made by hand: ids of the rendered text, labels of the supervised turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tunebook.core.files import write_jsonl
from tunebook.data.mask.compare import Compared, Plan, compare
from tunebook.data.mask.prepared import Chunk
from tunebook.data.mask.wanted import Source
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import IGNORED

Labelled = tuple[list[int], list[int]]
CHUNK = 5


class Made:
    """Prepared rows that are given, in chunks of a few."""

    def __init__(self, rows: list[Labelled]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self.rows), CHUNK):
            some = self.rows[start : start + CHUNK]
            ids, labels = (np.array([id for row in some for id in row[part]]) for part in (0, 1))
            yield Chunk(ids, labels, np.array([len(ids) for ids, _ in some]))

    def row(self, number: int) -> Labelled:
        return self.rows[number]


def talk(*texts: str, id: str = "r", **more: Any) -> dict[str, Any]:
    """Return a row of turns by user and assistant; a text `0:...` has weight 0, `S:...` is the system's."""
    turns: list[dict[str, Any]] = []
    for text in texts:
        if text.startswith("S:"):
            turns.append({"role": "system", "content": text[2:]})
            continue
        role = "assistant" if turns and turns[-1]["role"] == "user" else "user"
        weight = {"weight": 0} if text.startswith("0:") else {}
        turns.append({"role": role, "content": text.removeprefix("0:"), **weight})
    return {"id": id, "group": id, "messages": turns, "gold": {"answer": turns[-1]["content"]}, **more}


def prepare(row: dict[str, Any], encoder: PromptEncoder) -> Labelled:
    """Return ids and labels of a row: each assistant turn with its end-of-turn token, unless its weight is
    0. A preference pair is its prompt with one answer and then with the other."""
    messages, tools = row["messages"], row.get("tools")
    if "rejected" in row:
        parts = [
            prepare({"messages": [*messages[:-1], row[name][-1]]}, encoder)
            for name in ("messages", "rejected")
        ]
        return tuple([id for part in parts for id in part[side][:-1]] for side in (0, 1))  # type: ignore[return-value]
    ids = encoder.tokenizer(encoder.text(messages, tools), add_special_tokens=False)["input_ids"]
    labels = [IGNORED] * len(ids)
    for place, turn in enumerate(messages):
        if turn["role"] == "assistant" and turn.get("weight") != 0:
            text = encoder.text(messages[: place + 1], tools).rstrip()
            stop = len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
            start = len(encoder.context(messages[:place], tools))
            labels[start:stop] = ids[start:stop]
    return list(ids), labels


def compared(
    folder: Path, rows: list[dict[str, Any]], made: list[Labelled], encoder: PromptEncoder, **plan: Any
) -> Compared:
    """Compare prepared rows with a file of `rows`."""
    path = folder / "rows.jsonl"
    write_jsonl(path, json.loads(json.dumps(rows)))
    source = Source(path, rejected="rejected" if plan.get("pair") else None, whole=plan.pop("whole", True))
    ends = frozenset({encoder.tokenizer.eos_token_id})
    return compare(Made(made), Plan([source], **{"ends": ends, "longest": 2048, **plan}), encoder)
