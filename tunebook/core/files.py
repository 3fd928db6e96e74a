"""JSON and JSONL files that survive a kill, and hashes.

Whole files are replaced atomically. A record file grows line by line: a record is on disk when
`append_record` returns, `read_records` skips the incomplete line of a killed process, and the next record
starts on a new line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show

Record = dict[str, Any]
Row = dict[str, Any]
AxolotlConfig = dict[str, Any]  # its keys are Axolotl's; tunebook/config/keys.py validates them


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, creating its folder, so that a kill leaves either the old file or the new
    one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes that write the same file at the same time must not share a temporary file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # the error of a full disk names no file
        raise
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, missing: Any = None) -> Any:
    """Return the JSON in `path`, or `missing` if there is no such file.

    Raises:
        InputError: the file is not JSON (code run.damaged_file).
    """
    if not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also text that is not UTF-8
        raise InputError(Problem(f"damaged ({error})", show(path), code="run.damaged_file")) from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write `rows` as JSONL to `path` atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[Row]:
    """Return the rows of a file written by `write_jsonl`.

    Raises:
        InputError: a line is not JSON (code run.damaged_file).
    """
    rows: list[Row] = []
    # Not splitlines(), which would also split at U+2028 inside a text.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise InputError(
                    Problem(f"damaged ({error})", show(path), number, code="run.damaged_file")
                ) from None
    return rows


def append_record(path: Path, record: Record) -> None:
    """Append `record` to `path`, creating the file and its folder if needed."""
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
    """Return the complete records of `path`, or [] if there is no such file."""
    if not path.is_file():
        return []
    records = []
    with path.open("rb") as file:
        for line in file:
            try:
                records.append(json.loads(line))
            except ValueError:  # also text that is cut in the middle of a character
                continue
    return records


def digest(value: Any) -> str:
    """Return the SHA-256 of `value` serialized as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
