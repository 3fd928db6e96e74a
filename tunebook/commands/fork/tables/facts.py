"""Options for a table file, and information in the file besides its rows.

In: options of `tunebook fork`, and the files found. Out: TableOptions for dataset.yaml, and notes: hidden
rows that are read, text that was decoded with the wrong encoding.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunebook.core.errors import InputError, Problem
from tunebook.data.files.excel import facts_of, open_sheet
from tunebook.data.files.table_options import TableOptions
from tunebook.data.formats.encodings import CONTROLS, LOST, repaired
from tunebook.data.formats.open_file import kind_of

Row = dict[str, Any]
INDENTED = re.compile(r"\n*[ \t]{2,}\S[^\n]*\n(.*\n)*[ \t]{2,}\S")  # also another line is indented


def table_options(encoding: str, delimiter: str, header: str, sheet: str, quotes: str) -> TableOptions:
    """Return the options as in dataset.yaml; "" for an option that was not given.

    Raises:
        InputError: an invalid value.
    """
    given: dict[str, Any] = {"encoding": encoding, "delimiter": delimiter, "header": header, "sheet": sheet}
    given = {name: value for name, value in given.items() if value}
    if quotes == "none":
        given["quotes"] = False
    if header and header != "none":
        if not (header.isdecimal() and len(header) < 19):
            text = f"expected the line number of the column names, or none (got {header!r})."
            raise InputError(Problem(text, key="--header (HEADER=)", code="option.bad_table"))
        given["header"] = int(header)
    try:
        return TableOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        text = f"{first['msg'].removeprefix('Value error, ')} (got {given[name]!r})."
        raise InputError(Problem(text, key=f"--{name} ({name.upper()}=)", code="option.bad_table")) from None


def numbered_fields(fields: dict[str, str], options: TableOptions) -> dict[str, str]:
    """Return FIELDS with column numbers replaced by the names that columns without a header get."""
    if options.header != "none":
        return fields
    return {name: f"column_{column}" if column.isdigit() else column for name, column in fields.items()}


def hidden_notes(path: Path, options: TableOptions) -> list[str]:
    """Return a note on hidden rows of an Excel sheet, which are read like the others."""
    if kind_of(path) != ".xlsx":
        return []
    with open_sheet(path, options) as sheet:
        hidden = facts_of(sheet).hidden
    if not hidden:
        return []
    some = ", ".join(map(str, hidden[:5])) + (", ..." if len(hidden) > 5 else "")
    return [f"warning: {len(hidden)} hidden rows of {path.name} are read like the others (rows {some})"]


def indent_notes(rows: list[Row], columns: Collection[str]) -> list[str]:
    """Return a note on texts of several lines whose first line is indented, which is removed."""
    texts = [row[name] for row in rows for name in columns if isinstance(row.get(name), str)]
    if not (some := [text for text in texts if INDENTED.match(text)]):
        return []
    return [
        f"warning: {len(some)} texts begin with an indented line, as in {some[0][:40]!r}: blanks at "
        "the start of a text are removed, so the first line loses its indentation. Write the line "
        "before it, or a code block"
    ]


def encoding_notes(rows: list[Row], place: str) -> list[str]:
    """Return notes on texts that had already been decoded with the wrong encoding when the file was
    written."""
    texts = [
        value for row in rows for value in row.values() if isinstance(value, str) and not value.isascii()
    ]
    notes = []
    wrong = [(text, before) for text in texts if (before := repaired(text))]
    if wrong:
        text, before = min(wrong, key=lambda pair: len(pair[0]))
        notes.append(
            f"warning: {len(wrong)} texts of {place} were decoded with the wrong encoding when the file was "
            f"made, as in {text[:60]!r}, probably {before[:60]!r}. Export them again as UTF-8"
        )
    if lost := [text for text in texts if LOST.search(text)]:
        at = LOST.search(lost[0])
        start = max(0, (at.start() if at else 0) - 20)
        notes.append(
            f"warning: {len(lost)} texts of {place} have replaced letters, as in "
            f"{lost[0][start : start + 50]!r}: "
            "the letters are lost. Export them again as UTF-8"
        )
    if odd := [text for text in texts if CONTROLS.search(text) and not repaired(text)]:
        notes.append(
            f"warning: {len(odd)} texts of {place} have control characters, as in {odd[0][:50]!r}: they "
            f"were probably "
            "written as Windows-1252 and read as Latin-1 (ENCODING=cp1252)"
        )
    return notes
