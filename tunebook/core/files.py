"""JSON and JSONL files that survive a kill, and hashes.

Whole files are replaced atomically. A record file grows line by line: a record is on disk when
`append_record` returns, `read_records` skips the incomplete line of a killed process, and the next record
starts on a new line.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show

T = TypeVar("T")
Record = dict[str, Any]
Row = dict[str, Any]
AxolotlConfig = dict[str, Any]  # its keys are Axolotl's; tunebook/config/keys.py validates them


DAMAGED = "Restore it from a copy, or run the command again that wrote it."
SEAL = "whole.json"
DEEPEST = 100  # levels of lists and objects; what walks through a value calls itself once a level


class JsonLimitError(ValueError):
    """A JSON text is valid, but Python would not read it whole, or not at all."""

    line: int | None = None  # of the file, where the reader knows it


class TooDeepError(JsonLimitError):
    """A JSON text is nested more than DEEPEST levels deep."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {DEEPEST} levels deep")


class TooLongError(JsonLimitError):
    """A number has more digits than Python reads (`sys.get_int_max_str_digits`)."""

    def __init__(self) -> None:
        super().__init__(f"a number of more than {sys.get_int_max_str_digits():,} digits")


class RepeatedKeyError(JsonLimitError):
    """An object has two values under one key, of which Python would keep the last without a word."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} occurs twice in one object")
        self.key = key


def from_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON (json.JSONDecodeError, UnicodeDecodeError), or a JsonLimitError.
    """
    return checked(lambda: json.loads(text, object_pairs_hook=unique_keys))


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values.

    Raises:
        RepeatedKeyError: a key occurs twice.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return made


def checked(decode: Callable[[], T]) -> T:
    """Return the value that `decode` decodes from JSON; raises what `from_json` raises."""
    try:
        value = decode()
    except RecursionError:
        raise TooDeepError from None
    except (json.JSONDecodeError, UnicodeDecodeError, RepeatedKeyError):
        raise
    except ValueError:
        raise TooLongError from None
    if is_deep(value):
        raise TooDeepError
    return value


def is_deep(value: object) -> bool:
    """Return whether lists and objects in `value` are nested more than DEEPEST levels deep."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        holders = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))
        ]
        level = [inside for one in holders for inside in one if isinstance(inside, (dict, list))]
        if not level:
            return False
    return True


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
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also text that is not UTF-8
        raise InputError(
            Problem(f"damaged ({error}). {DAMAGED}", show(path), code="run.damaged_file")
        ) from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write `rows` as JSONL to `path` atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[Row]:
    """Return the rows of a file written by `write_jsonl`.

    Raises:
        InputError: no such file (code run.no_file), or a line is not JSON (code run.damaged_file).
    """
    if not path.is_file():
        text = f"file not found. {DAMAGED}"
        raise InputError(Problem(text, show(path), code="run.no_file"))
    rows: list[Row] = []
    # Not splitlines(), which would also split at U+2028 inside a text.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(from_json(line))
            except ValueError as error:
                raise InputError(
                    Problem(f"damaged ({error}). {DAMAGED}", show(path), number, code="run.damaged_file")
                ) from None
    return rows


def seal(folder: Path) -> None:
    """Write the list of the files in a folder of a cache, with their sizes, into it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL]
    paths = [path for path in paths if "__pycache__" not in path.parts]
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(paths)}
    write_json(folder / SEAL, {"bytes": sizes})


def damage(folder: Path) -> str | None:
    """Return how a folder differs from what `seal` listed, None if it does not."""
    try:
        listed = read_json(folder / SEAL)
    except InputError:
        return f"{SEAL} is damaged"
    if not isinstance(listed, dict) or not isinstance(listed.get("bytes"), dict):
        return f"{SEAL} is missing"
    for name, size in listed["bytes"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
    return None


def whole_safetensors(path: Path) -> bool:
    """Compare the size of a safetensors file with what its header says: 8 bytes little-endian header length,
    JSON header, then the tensors without gaps."""
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return False
        length = int.from_bytes(start, "little")
        if length > path.stat().st_size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, KeyError, TypeError, LookupError):
            return False
    return path.stat().st_size == 8 + length + max(ends, default=0)


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
                record = from_json(line)
            except ValueError:  # also text that is cut in the middle of a character
                continue
            if isinstance(record, dict):
                records.append(record)
    return records


def digest(value: Any) -> str:
    """Return the SHA-256 of `value` serialized as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
