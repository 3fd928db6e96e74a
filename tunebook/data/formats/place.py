"""The place of a row: its line in a text file, its row in a table, its path in a JSON document, its id.

In: the numbers that readers count. Out: Problems that name file, line (or row), id and field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tunebook.core.errors import Problem

# The line (in Parquet and Excel: the row), from 1, and the row or its Problem.
Numbered = tuple[int, Any]
ID_NAMES = """id _id uuid guid qid question_id example_id row_id conversation_id message_id""".split()
LONGEST_ID = 60


class Spot(int):
    """A line number that also carries other information about the place of a row, and shows it as text: `3
    (id q7)`.

    `path` is its path in a JSON document, where rows may share a line; `row` its own id; `unit` is `row` in
    files that have rows instead of lines; `file` is the user's own file, if rows of several files were
    combined.
    """

    path: str = ""
    row: str = ""
    unit: str = ""
    file: str = ""

    @classmethod
    def of(cls, line: int, path: str = "", row: str = "", unit: str = "", file: str = "") -> Spot:
        """Return `line`, a Spot or a plain number, with the given information added."""
        spot = cls(line)
        spot.path = path or getattr(line, "path", "")
        spot.row = row or getattr(line, "row", "")
        spot.unit = unit or getattr(line, "unit", "")
        spot.file = file or getattr(line, "file", "")
        return spot

    def parts(self) -> list[Any]:
        """Return the information as JSON values: the number, path, id, unit and file."""
        return [int(self), self.path, self.row, self.unit, self.file]

    def say(self, path: str, row: str, unit: str, file: str = "") -> Spot:
        """Return the Spot that was stored as these parts."""
        return Spot.of(self, path, row, unit, file)

    def __str__(self) -> str:
        more = ", ".join(filter(None, (self.path, self.row and f"id {self.row}")))
        number = " ".join(filter(None, (self.unit, int.__repr__(self))))
        return f"{number} ({more})" if more else number

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def origins_of(path: Path) -> Path:
    """Return the file that records the origin of each row of `path`, if the file was combined from others: a
    line of number and file for each row."""
    return path.with_suffix(".origins")


def at_origins(rows: Iterator[Numbered], path: Path) -> Iterator[Numbered]:
    """Number the rows of a file as in the files they come from, if recorded."""
    if not origins_of(path).is_file():
        yield from rows
        return
    with origins_of(path).open(encoding="utf-8") as file:
        for (number, row), origin in zip(rows, file, strict=False):
            line, _, name = origin.rstrip("\n").partition(" ")
            yield Spot.of(int(line), row=getattr(number, "row", ""), file=name), row


def id_of(row: Any) -> str:
    """Return the id in a raw row, or "" for none."""
    for name in ID_NAMES if isinstance(row, dict) else ():
        value = row.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return repr(str(value).strip()[:LONGEST_ID])[1:-1]
    return ""


def plain(value: Any) -> Any:
    """Convert values of binary formats to JSON values: dates and decimals to text, bytes to the text they
    encode."""
    if isinstance(value, (Decimal, date, time, timedelta)):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"({len(value)} bytes)"
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def in_rows(rows: Iterator[Numbered]) -> Iterator[Numbered]:
    """Number the rows of a table by row instead of line."""
    for number, row in rows:
        spot = Spot.of(number, unit="row")
        yield spot, replace(row, line=spot) if isinstance(row, Problem) and row.line else row


def fault(text: str, place: str, number: int, field: str | None, code: str, row: str = "") -> Problem:
    """Return a Problem for the row at `number`, at the row's `field`; `row` is its id."""
    path = getattr(number, "path", "")
    separator = "." if path and field and not field.startswith("[") else ""
    spot = Spot.of(int(number), row=row or getattr(number, "row", ""), unit=getattr(number, "unit", ""))
    place = getattr(number, "file", "") or place
    return Problem(text, place, spot, f"{path}{separator}{field or ''}" or None, code)
