"""A small dataset written to a folder of the test's own, and rows as the checks see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunebook.check.rows import Seen
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS

LABELS = ["acorn", "beech", "cedar"]


def labelled(split: str, count: int) -> list[dict[str, Any]]:
    """Return `count` rows with words of their own, so that no two are alike."""
    return [
        {"id": f"{split}{i}", "text": f"{split} asks about tree {i}", "label": LABELS[i % 3]}
        for i in range(count)
    ]


def dataset(folder: Path, rows: dict[str, list[Any]] | None = None, **changes: Any) -> Dataset:
    """Write source files and return the dataset that reads them; a bytes row is written as it is."""
    given = {**{split: labelled(split, 30) for split in SPLITS}, **(rows or {})}
    home = folder / "trees"
    home.mkdir(parents=True, exist_ok=True)
    for split, lines in given.items():
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (home / f"{split}.jsonl").write_bytes(b"\n".join(raw) + b"\n")
    (home / "dataset.yaml").write_text("name: trees\n")
    settings: dict[str, Any] = {
        "folder": home,
        "name": "trees",
        "task": "classification",
        "licence": "Apache-2.0",
        "source": {"files": {split: f"{split}.jsonl" for split in SPLITS}},
        "system": "Name the tree.",
        "prompt": "{{ text }}",
        "answer": "{{ label }}",
        "labels": LABELS,
    }
    return Dataset.model_validate({**settings, **changes})


def seen(split: str, line: int, text: str, answer: str = "acorn", group: str | None = None) -> Seen:
    """Return one row as a watcher sees it."""
    name = f"{split}-{line}"
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    row = {"id": name, "group": group or name, "messages": turns, "gold": {"answer": answer}}
    return Seen(split, f"{split}.jsonl", line, row)
