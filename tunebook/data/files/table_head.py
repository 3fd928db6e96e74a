"""The header of a table, and lines that are not rows: titles above it, totals below.

In: the first lines of a CSV file or sheet as lists of cells. Out: the column names, or an error that shows
the line they are probably in and the option that selects it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.open_file import is_broken

Cells = Sequence[Any]
SUBHEADS = frozenset(("response", "open-ended response"))  # below the questions of SurveyMonkey
LOOKED_AT = 50  # number of lines examined to find the shape of a table
TOTALS = frozenset(
    "total totals sum grand_total subtotal gesamt summe insgesamt total_general suma totale somma totaal "
    "\u5408\u8ba1 \u603b\u8ba1 \u5408\u8a08 \u7e3d\u8a08 \ud569\uacc4 \u0438\u0442\u043e\u0433\u043e".split()
)


def filled(cells: Cells) -> int:
    """Return the number of non-empty cells."""
    return sum(cell not in (None, "") for cell in cells)


def column_names(cells: Cells, place: str, line: int, broken: str = "") -> list[str]:
    """Return the column names in a header; an unnamed column is named by its number.

    Raises:
        InputError: two columns have the same name, or one has bytes that are invalid in the file's encoding,
            explained by `broken`.
    """
    names = [
        str(cell).strip() if cell not in (None, "") else f"column_{index}"
        for index, cell in enumerate(cells, 1)
    ]
    for name in names:
        if names.count(name) > 1:
            text = f"two columns are named {name!r}. Rename one."
            raise InputError(Problem(text, place, line, code="data.repeated_column"))
        if is_broken(name):
            raise InputError(Problem(broken, place, line, code="rows.not_utf8"))
    return names


def refuse_title(lines: Sequence[tuple[int, Cells]], place: str) -> None:
    """Raise InputError for a title above the column names: a first line with one cell, followed by lines with
    more.

    Raises:
        InputError: the message names the line that probably has the column names.
    """
    if len(lines) < 2:
        return
    number, first = lines[0]
    widths = Counter(filled(cells) for _, cells in lines[1:])
    usual = max(widths, key=lambda width: (widths[width], width))
    if filled(first) > 1 or usual < 2 or sum(n for width, n in widths.items() if width > 1) * 2 <= len(lines):
        return
    found = next(((at, cells) for at, cells in lines[1:] if filled(cells) >= usual), None)
    if found:
        at, cells = found
        shown = ", ".join(str(cell) for cell in cells if cell not in (None, ""))[:100]
        title = next(str(cell) for cell in first if cell not in (None, ""))[:60]
        text = (
            f"{title!r} is a title, not a header. The column names are probably in line {at} ({shown}); use "
            f"HEADER={at}. If the file has no column names, remove everything above the rows and use "
            "HEADER=none."
        )
        raise InputError(Problem(text, place, number, code="data.title_above"))


def is_header(cells: Cells, columns: Sequence[str]) -> bool:
    """Return whether a row repeats the column names, as where files were written one after another."""
    names = [str(cell).strip().lstrip("\ufeff") if cell is not None else "" for cell in cells]
    given = [name if cell else "" for name, cell in zip(columns, names, strict=False)]
    return len(names) == len(columns) and names == given and any(names)


def header_lines(rows: Sequence[Cells]) -> int:
    """Return how many of the first rows below the names describe the columns: Qualtrics writes the questions
    and an object with `ImportId`, SurveyMonkey `Open-Ended Response`."""
    for number, cells in enumerate(rows[:2], 1):
        words = [str(cell).strip() for cell in cells if cell not in (None, "")]
        if words and all(word.startswith('{"ImportId"') for word in words):
            return number
    first = [str(cell).strip().lower() for cell in rows[0] if cell not in (None, "")] if rows else []
    return int(bool(first) and {*first} <= SUBHEADS)


def header_fault(cells: Cells) -> str:
    """Return the message about a row that is a header."""
    shown = ", ".join(str(cell) for cell in cells if cell not in (None, ""))[:80]
    return f"is a header ({shown}), not an example. Remove it from the file."


def is_total(cells: Cells) -> bool:
    """Return whether the last row of a table contains totals: a word for it, then numbers or empty cells."""
    words = [str(cell).strip() for cell in cells if cell not in (None, "")]
    if not words or len(cells) < 2:
        return False
    name = re.sub(r"\W+", "_", words[0].lower()).strip("_")
    return name in TOTALS and all(re.fullmatch(r"[-+]?[\d.,\s]+%?", word) for word in words[1:])


def totals_fault(cells: Cells) -> str:
    """Return the message about a row of totals."""
    shown = ", ".join(str(cell) for cell in cells if cell not in (None, ""))[:80]
    return f"looks like a row of totals ({shown}), not an example. Remove it from the file."
