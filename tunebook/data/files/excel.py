"""The rows of an Excel sheet.

In: an .xlsx file. Out: (row number, row) pairs as the sheet shows them: whole numbers without a decimal
point, dates as dates, leading zeros kept if the number format shows them. Values that cannot be read as shown
become Problems: a formula without a value, an error, merged cells.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.files.table_head import (
    LOOKED_AT,
    column_names,
    filled,
    header_fault,
    header_lines,
    is_header,
    is_total,
    refuse_title,
    totals_fault,
)
from tunebook.data.files.table_options import TableOptions
from tunebook.data.formats.open_file import COMPRESSED, open_bytes
from tunebook.data.formats.place import Numbered, fault, plain

ZEROS = re.compile(r"0{2,}")  # a number format that keeps leading zeros
PERCENT = re.compile(r"0(\.0+)?%")
FIXED = re.compile(r"0\.(0+)")  # a number format that shows zeros at the end: 1.10
SHOWN = 5


@dataclass
class SheetFacts:
    """Facts about a sheet other than its values: hidden rows and columns, merged cells, and formulas that
    were never calculated."""

    hidden: list[int] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    uncalculated: list[str] = field(default_factory=list)


def read_excel(path: Path, options: TableOptions) -> Iterator[Numbered]:
    """Yield (row number, row) of each row below the column names.

    Raises:
        InputError: not an Excel file, several sheets with rows, an empty sheet, a title above the names,
            merged cells, or formulas without values.
    """
    with open_sheet(path, options) as sheet:
        lines = (
            (number, [_value(cell) for cell in cells]) for number, cells in enumerate(sheet.iter_rows(), 1)
        )
        yield from _rows(lines, facts_of(sheet), options, show(path))


@contextlib.contextmanager
def open_sheet(path: Path, options: TableOptions) -> Iterator[Any]:
    """Open the sheet named in `options`, or the only sheet with content.

    Raises:
        InputError: not an Excel file, or several sheets.
    """
    import openpyxl

    with open_bytes(path) as file:
        try:
            whole = io.BytesIO(file.read()) if path.suffix.lower() in COMPRESSED else file
            book = openpyxl.load_workbook(whole, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            text = f"not a valid Excel file (.xlsx): {error}."
            raise InputError(Problem(text, show(path), code="data.not_excel")) from None
        yield _sheet(book, options, show(path))


def _sheet(book: Any, options: TableOptions, place: str) -> Any:
    """Return the sheet named in `options`, or the only sheet with content."""
    names = book.sheetnames
    if options.sheet is not None:
        if options.sheet not in names:
            text = f"has no sheet {options.sheet!r}. It has: {', '.join(names)}."
            raise InputError(Problem(text, place, key="--sheet (SHEET=)", code="option.unknown_sheet"))
        return book[options.sheet]
    sheets = [
        sheet for sheet in book.worksheets if any(map(filled, itertools.islice(sheet.values, LOOKED_AT)))
    ]
    if len(sheets or names) > 1:
        largest = max(book.worksheets, key=lambda sheet: sheet.max_row or 0).title
        text = f"has several sheets ({', '.join(names)}). Name the one with the rows: "
        text += f'SHEET="{largest}".' if " " in largest else f"SHEET={largest}."
        raise InputError(Problem(text, place, code="data.several_sheets"))
    return (sheets or book.worksheets)[0]


def _value(cell: Any) -> Any:
    """Return the value of a cell as the sheet shows it."""
    value = cell.value
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()  # Excel has no dates without a time
    if isinstance(value, str):
        if cell.data_type == "e":
            return _ExcelError(value)
        if "_x" in value:  # Excel's notation for control characters
            from openpyxl.utils.escape import unescape

            return unescape(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if ZEROS.fullmatch(cell.number_format) and value == int(value):
            return str(int(value)).zfill(len(cell.number_format))
        if percent := PERCENT.fullmatch(cell.number_format):
            return f"{value:.{len(percent[1] or '.') - 1}%}"
        if (fixed := FIXED.fullmatch(cell.number_format)) and value == round(value, len(fixed[1])):
            return f"{value:.{len(fixed[1])}f}"
    return plain(value)


class _ExcelError(str):
    """The value of a cell that is an error, such as #N/A."""


def _rows(
    lines: Iterator[tuple[int, list[Any]]], facts: SheetFacts, options: TableOptions, place: str
) -> Iterator[Numbered]:
    wanted = options.header if isinstance(options.header, int) else 1
    lines = ((number, cells) for number, cells in lines if number >= wanted and filled(cells))
    ahead = list(itertools.islice(lines, LOOKED_AT))
    if not ahead:
        text = "empty sheet. The first row must contain the column names."
        raise InputError(Problem(text, place, code="data.no_header"))
    head, names = ahead[0]
    if facts.uncalculated:
        some = ", ".join(facts.uncalculated[:SHOWN])
        text = f"{len(facts.uncalculated)} cells have a formula but no value ({some}). Open the file in "
        text += "Excel or LibreOffice and save it, which calculates them."
        raise InputError(Problem(text, place, code="data.formula_without_value"))
    if options.header is None:
        refuse_title(ahead, place)
    if below := [area for area in facts.merged if int(re.findall(r"\d+", area)[-1]) >= head]:
        text = f"has merged cells ({', '.join(below[:SHOWN])}), of which only the first has the value. "
        text += "Unmerge them and fill each cell."
        raise InputError(Problem(text, place, head, code="data.merged_cells"))
    if options.header == "none":
        columns = [f"column_{number}" for number in range(1, max(len(c) for _, c in ahead) + 1)]
    else:
        while names and names[-1] in (None, ""):
            names = names[:-1]
        columns = column_names(names, place, head)
        ahead = ahead[1:]
    extra = 0 if options.header == "none" else header_lines([cells for _, cells in ahead])
    yield from _below(itertools.chain(ahead, lines), columns, place, extra)


def _below(
    lines: Iterator[tuple[int, list[Any]]], columns: list[str], place: str, extra: int
) -> Iterator[Numbered]:
    held: tuple[int, list[Any]] | None = None
    seen = 0
    for number, cells in itertools.chain(lines, [(0, list[Any]())]):
        if held:
            seen += 1
            at, ready = held
            error = next(
                (i for i, cell in enumerate(ready[: len(columns)]) if isinstance(cell, _ExcelError)), None
            )
            if not number and seen > 1 and is_total(ready):
                yield at, fault(totals_fault(ready), place, at, None, "rows.totals")
            elif seen <= extra or is_header(ready[: len(columns)], columns):
                yield at, fault(header_fault(ready), place, at, None, "rows.repeated_header")
            elif filled(ready[len(columns) :]):
                text = f"has a value beyond the {len(columns)} named columns. Give its column a name."
                yield at, fault(text, place, at, None, "rows.column_count")
            elif error is not None:
                text = (
                    f"contains an Excel error (got {ready[error]}). Correct the formula, or clear the cell."
                )
                yield at, fault(text, place, at, columns[error], "rows.excel_error")
            else:
                yield at, dict(itertools.zip_longest(columns, ready[: len(columns)]))
        held = (number, cells) if number else None


def facts_of(sheet: Any) -> SheetFacts:
    """Return facts about a sheet of a read-only workbook. openpyxl only reports them for a workbook loaded
    into memory as a whole, so the sheet's XML is read here."""
    facts = SheetFacts()
    with sheet.parent._archive.open(sheet._worksheet_path) as file:
        for _, element in ElementTree.iterparse(file, events=("end",)):
            name = element.tag.rpartition("}")[2]
            if name == "row":
                if element.get("hidden") in ("1", "true"):
                    facts.hidden.append(int(element.get("r") or 0))
                for cell in element:
                    inside = {part.tag.rpartition("}")[2]: part for part in cell}
                    if "f" in inside and not (("v" in inside and inside["v"].text) or "is" in inside):
                        # An empty string is also a calculated value.
                        if cell.get("t") != "str":
                            facts.uncalculated.append(str(cell.get("r")))
                element.clear()
            elif name == "mergeCell":
                facts.merged.append(str(element.get("ref")))
    return facts
