"""JSONL files with a schema, validated as a whole when written and read: fast enough for a hundred thousand
rows, without copying them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from tunebook.core.errors import Problem, raise_all
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.paths import show
from tunebook.core.yaml_file import dotted

T = TypeVar("T", bound=Mapping[str, object])
SHOWN = 3  # problems shown per file
ADVICE = "Damaged, or written by another version of Tunebook. Run the recipe again with this version."


def check(
    path: Path, form: TypeAdapter[list[T]], rows: Iterable[object], advice: str = ADVICE
) -> list[Problem]:
    """Validate `rows`, the lines of `path`, against `form`; return the first problems, or [] if all rows are
    valid. Further keys are allowed.

    Args:
        advice: what the reader should do; ends each message.
    """
    try:
        form.validate_python(rows, strict=True)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False)[:SHOWN]:
            number, *where = item["loc"]
            line = int(number) + 1
            text = f"{item['msg']}. {advice}"
            problems.append(
                Problem(text, show(path), line, dotted(tuple(where)) or None, "run.other_version")
            )
        return problems
    return []


def read_rows_as(path: Path, form: TypeAdapter[list[T]]) -> list[T]:
    """Return the rows of `path`, validated against `form`.

    Raises:
        InputError: a line is not JSON (run.damaged_file), or a row does not match `form` (run.other_version);
            both with file, line and key.
    """
    rows = read_jsonl(path)
    raise_all(check(path, form, rows))
    return cast(list[T], rows)


def write_rows_as(path: Path, form: TypeAdapter[list[T]], rows: Iterable[T]) -> None:
    """Validate `rows` against `form` and write them to `path` atomically.

    Raises:
        ValidationError: a row does not match `form`.
    """
    listed = list(rows)
    form.validate_python(listed, strict=True)
    write_jsonl(path, listed)
