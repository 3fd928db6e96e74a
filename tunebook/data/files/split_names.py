"""Names of splits: in the names of files and folders, in JSON objects, in a column of the rows.

In: a name, or rows. Out: the split it refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "validate": "dev",
    "development": "dev",
    "eval": "dev",
    "evaluation": "dev",
    "test": "test",
    "testing": "test",
}
# A split word within a name: train.csv, my-test2.csv, trainset.csv, x_valid_full.json.
NAMED = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLIT_OF, key=len, reverse=True))})(?:set|data)?(?![a-z])")
COLUMNS = ("split", "partition", "data_split", "dataset_split", "set", "subset", "fold")


def split_of(name: str) -> Split | None:
    """Return the split in the name of a file or folder, or None if it contains none or several."""
    found = {SPLIT_OF[word] for word in NAMED.findall(re.sub(r"([a-z])(?=[A-Z])", r"\1-", name).lower())}
    return found.pop() if len(found) == 1 else None


def split_in(value: Any) -> Split | None:
    """Return the split named by the value of a split column."""
    return SPLIT_OF.get(str(value).strip().lower())


def split_column(rows: Iterable[dict[str, Any]]) -> tuple[str, list[Split]] | None:
    """Return the column that assigns rows to splits, and the splits in it; None if there is no such column or
    all rows belong to train."""
    rows = list(rows)
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.strip().lower() in COLUMNS:
            found = {split_in(row.get(name)) for row in rows}
            if None not in found and "train" in found and len(found) > 1:
                return name, [split for split in SPLITS if split in found]
    return None


def half_known(rows: Iterable[dict[str, Any]]) -> tuple[str, list[str], list[str]] | None:
    """Return a column that names train and another split, but also other values, with those of both kinds."""
    rows = list(rows)
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.strip().lower() in COLUMNS:
            values = dict.fromkeys(str(row.get(name)) for row in rows)
            known = [value for value in values if split_in(value)]
            other = [value for value in values if not split_in(value)]
            if other and {*map(split_in, known)} > {"train"}:
                return name, known, other
    return None
