"""Where a row stands: the line of a text file, the row of a table, the path inside a JSON document."""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import Problem

# Line (Parquet and Excel: row), from 1; an object or a Problem.
Numbered = tuple[int, Any]


class Spot(int):
    """A line, and for rows of a JSON document the path of the row in it: many may share one line."""

    path: str = ""

    @classmethod
    def of(cls, line: int, path: str) -> Spot:
        spot = cls(line)
        spot.path = path
        return spot


def fault(text: str, place: str, number: int, field: str | None, code: str) -> Problem:
    """Return the Problem of the row at `number`."""
    path = getattr(number, "path", "")
    separator = "." if path and field and not field.startswith("[") else ""
    return Problem(text, place, int(number), f"{path}{separator}{field or ''}" or None, code)
