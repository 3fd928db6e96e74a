"""Files of records that grow by one line at a time (JSONL) and survive being killed.

A record is on the disk when `append` returns. The half line of a killed process is skipped by `read`,
and the next record begins on a line of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """Add `record` to the end of `path`, which is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Record]:
    """Return the whole records of `path`, [] where there is no such file."""
    if not path.is_file():
        return []
    records = []
    with path.open("rb") as file:
        for line in file:
            try:
                records.append(json.loads(line))
            except ValueError:  # also text that is cut inside a character
                continue
    return records
