"""Files of records that grow by one line at a time (JSONL) and survive being killed.

A record is on the disk when `append` returns. The half line of a killed process is skipped by `read`,
and the next record begins on a line of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append_record(path: Path, record: Record) -> None:
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


def read_records(path: Path) -> list[Record]:
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


Row = dict[str, Any]


def write_jsonl(path: Path, rows: list[Row]) -> None:
    """Write `rows` as JSONL to `path` in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def read_jsonl(path: Path) -> list[Row]:
    """Read rows that `write_rows` wrote."""
    # Not splitlines(), which would also cut at U+2028 inside a text.
    with path.open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def digest(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` in one move, so that a kill leaves the old file or the new one."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: Path, missing: Any = None) -> Any:
    """Return the JSON in `path`, or `missing` where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else missing


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
