"""The place of a row: its line in a text file, its row in a table, its path in a JSON document.

In: the numbers that readers count. Out: Problems that name file, line and field.
"""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import Problem

# The line (Parquet and Excel: the row), from 1, and the row or its Problem.
Numbered = tuple[int, Any]


class Spot(int):
    """A line number that also carries the path of a row in a JSON document, where rows may share a line."""

    path: str = ""

    @classmethod
    def of(cls, line: int, path: str) -> Spot:
        spot = cls(line)
        spot.path = path
        return spot


def fault(text: str, place: str, number: int, field: str | None, code: str) -> Problem:
    """Return the Problem of the row at `number`, at the row's `field`."""
    path = getattr(number, "path", "")
    separator = "." if path and field and not field.startswith("[") else ""
    return Problem(text, place, int(number), f"{path}{separator}{field or ''}" or None, code)
