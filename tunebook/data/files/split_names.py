"""Names of splits: in the names of files and folders, in JSON objects, in a column of the rows.

In: a name, or rows. Out: the split that it stands for.
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
# A word for a split in a name: train.csv, my-test2.csv, trainset.csv, x_valid_full.json.
NAMED = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLIT_OF, key=len, reverse=True))})(?:set|data)?(?![a-z])")
COLUMNS = ("split", "partition", "data_split", "dataset_split", "set", "subset", "fold")


def split_of(name: str) -> Split | None:
    """Return the split that a file's or folder's name stands for, None where it names none or several."""
    found = {SPLIT_OF[word] for word in NAMED.findall(re.sub(r"([a-z])(?=[A-Z])", r"\1-", name).lower())}
    return found.pop() if len(found) == 1 else None


def split_in(value: Any) -> Split | None:
    """Return the split that a row's own column names."""
    return SPLIT_OF.get(str(value).strip().lower())


def split_column(rows: Iterable[dict[str, Any]]) -> tuple[str, list[Split]] | None:
    """Return the column that says of which split each row is, and the splits that there are; None where no
    column does, or all rows are of train."""
    rows = list(rows)
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.strip().lower() in COLUMNS:
            found = {split_in(row.get(name)) for row in rows}
            if None not in found and "train" in found and len(found) > 1:
                return name, [split for split in SPLITS if split in found]
    return None
