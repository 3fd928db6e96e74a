"""CSV and similar formats, delimited by comma, semicolon, tab, pipe or a given delimiter.

In: a text file. Out: (line, row) pairs of its records, with a Problem in place of a row that cannot be read.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.files.table_head import (
    LOOKED_AT,
    column_names,
    header_fault,
    header_lines,
    is_header,
    is_total,
    refuse_title,
    totals_fault,
)
from tunebook.data.files.table_options import NAME_OF, TableOptions
from tunebook.data.formats.encodings import JAPANESE_7_BIT
from tunebook.data.formats.open_file import broken_text, is_broken, kind_of, open_text
from tunebook.data.formats.place import Numbered, fault

CSV_CELL = 1 << 30  # characters; Python's default of 131,072 would reject long texts
USUAL = ",;\t|"
BACKSLASHES = (
    "quotes inside the text are escaped by a backslash, but CSV doubles them. Convert the file: "
    ".venv/bin/python "
    "-c \"import pandas; pandas.read_csv('{name}', escapechar=chr(92), dtype=str, keep_default_na=False)"
    ".to_json('{target}', orient='records', lines=True, force_ascii=False)\""
)


def read_delimited(path: Path, options: TableOptions) -> Iterator[Numbered]:
    """Yield (line, row) of each record below the column names.

    Raises:
        InputError: an empty file, a title above the column names, an ambiguous delimiter, or broken quotes.
    """
    csv.field_size_limit(CSV_CELL)
    place = show(path)
    with open_text(path, newline="", encoding=options.encoding) as file:
        skipped, head = _start(file, options, place)
        lines = list(itertools.islice(file, LOOKED_AT))
        delimiter, hint = _delimiter([head, *lines], options, path)
        if hint:  # `sep=;`, as written by Excel
            skipped, head, lines = skipped + 1, lines[0], lines[1:]
        records = _Records(itertools.chain([head, *lines], file), skipped, delimiter, options.quotes, place)
        first = next(records)[1]
        if options.header == "none":
            columns = [f"column_{number}" for number in range(1, len(first) + 1)]
            waiting: Iterable[tuple[int, list[str]]] = itertools.chain([(skipped + 1, first)], records)
        else:
            if options.header is None:
                refuse_title(_parsed([head, *lines], skipped, delimiter, options.quotes), place)
            broken = broken_text(path) if any(map(is_broken, first)) else ""
            columns = column_names(first, place, skipped + 1, broken)
            waiting = records
        extra, named = 0, len(first)
        if options.header != "none":
            below = _parsed([head, *lines], skipped, delimiter, options.quotes)[1:]
            extra = header_lines([cells for _, cells in below])
            named = len("".join("x" if cell else " " for cell in first).rstrip())
        yield from _rows(waiting, columns, delimiter, path, extra, named)


def _start(file: TextIO, options: TableOptions, place: str) -> tuple[int, str]:
    """Return how many lines precede the first line that counts, and that line."""
    wanted = options.header if isinstance(options.header, int) else 1
    skipped = 0
    for skipped, line in enumerate(file):
        if skipped + 1 >= wanted and line.strip():
            return skipped, line
    text = "empty file. The first line must contain the column names."
    if wanted > 1:
        text = f"has no line {wanted} (got HEADER={wanted})."
    raise InputError(Problem(text, place, code="data.no_header"))


def _delimiter(lines: list[str], options: TableOptions, path: Path) -> tuple[str, bool]:
    """Return the delimiter, and whether the first line only names it.

    Raises:
        InputError: two delimiters split all lines equally well.
    """
    first = lines[0].rstrip("\r\n").lower()
    if first.startswith("sep=") and len(first) == 5 and len(lines) > 1:
        return options.delimiter or lines[0][4], True
    if options.delimiter:
        return options.delimiter, False
    if kind_of(path) == ".tsv" and "\t" in lines[0]:
        return "\t", False
    able: dict[str, tuple[float, int]] = {}
    for letter in USUAL:
        widths = _widths(lines, letter, options.quotes)
        usual, times = Counter(widths).most_common(1)[0] if widths else (0, 0)
        if usual > 1:
            able[letter] = (times / len(widths), usual)
    full = [letter for letter, (share, _) in able.items() if share == 1]
    if len(full) > 1 and len(set(map(lines[0].count, full))) == 1:
        names = " or ".join(f"DELIMITER={NAME_OF[letter]}" for letter in full)
        text = f"can be split in more than one way. Choose the delimiter: {names}."
        raise InputError(Problem(text, show(path), 1, code="data.ambiguous_delimiter"))
    # The one that splits most lines evenly, then the one most frequent in the header line.
    best = max(able, key=lambda letter: (round(able[letter][0], 1), lines[0].count(letter)), default="")
    return best or max(USUAL, key=lines[0].count), False


def _widths(lines: list[str], delimiter: str, quotes: bool) -> list[int]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    try:
        return [len(cells) for cells in reader if cells]
    except csv.Error:
        return []


def _parsed(lines: list[str], skipped: int, delimiter: str, quotes: bool) -> list[tuple[int, Any]]:
    """Return the first records of a file, with the lines on which they begin."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    found, begins = list[tuple[int, Any]](), 1
    for cells in reader:
        if cells:
            found.append((skipped + begins, cells))
        begins = reader.line_num + 1
    return found


class _Records:
    """The records of a file, each with the line on which it begins."""

    def __init__(self, lines: Iterable[str], skipped: int, delimiter: str, quotes: bool, place: str) -> None:
        self.last = ""
        self.reader = csv.reader(
            self._seen(lines),
            strict=True,
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        )
        self.skipped, self.begins, self.place = skipped, 1, place

    def _seen(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.last = line
            yield line

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        line = self.skipped + self.begins
        try:
            cells = next(self.reader)
        except csv.Error as error:
            text = f"not valid CSV: {error}. If quotes are part of the text, use QUOTES=none."
            if '\\"' in self.last:
                text = BACKSLASHES.format(name=self.place, target=f"{self.place}.jsonl")
            raise InputError(Problem(text, self.place, line, code="data.not_csv")) from None
        self.begins = self.reader.line_num + 1
        return line, cells


def _rows(
    records: Iterable[tuple[int, list[str]]],
    columns: list[str],
    delimiter: str,
    path: Path,
    extra: int,
    named: int,
) -> Iterator[Numbered]:
    """Yield the records as rows. The last one is held back until it is known that none follows it.

    Args:
        extra: the number of records below the names that describe the columns.
        named: the number of columns up to the last one with a name; a row may lack those after it.
    """
    place, broken = show(path), ""
    held: tuple[int, list[str]] | None = None
    seen = 0
    for line, cells in itertools.chain(records, [(0, list[str]())]):
        if line and not cells:
            continue
        if held:
            seen += 1
            at, ready = held
            ready = _fitted(ready, len(columns), named)
            if any(is_broken(cell) or JAPANESE_7_BIT.search(cell) for cell in ready):
                broken = broken or broken_text(path)
                yield at, fault(broken, place, at, None, "rows.not_utf8")
            elif not line and seen > 1 and is_total(ready):
                yield at, fault(totals_fault(ready), place, at, None, "rows.totals")
            elif seen <= extra or is_header(ready, columns):
                yield at, fault(header_fault(ready), place, at, None, "rows.repeated_header")
            elif len(ready) != len(columns):
                yield at, fault(_uneven(ready, columns, delimiter), place, at, None, "rows.column_count")
            elif swallowed(ready, delimiter):
                text = "one cell contains several lines with delimiters, so a quote was probably never "
                text += "closed. Close the quote, or use QUOTES=none if quotes are part of the text."
                yield at, fault(text, place, at, None, "rows.open_quote")
            else:
                yield at, dict(zip(columns, ready, strict=True))
        held = (line, cells) if line else None


def _fitted(cells: list[str], columns: int, named: int) -> list[str]:
    """Return a record without empty cells beyond the columns, and with empty cells for unnamed columns at the
    end: some programs write a delimiter at the end of each line, or only of the header."""
    if len(cells) > columns and not any(cells[columns:]):
        return cells[:columns]
    return cells + [""] * (columns - len(cells)) if named <= len(cells) < columns else cells


def swallowed(cells: list[str], delimiter: str) -> bool:
    """Return whether a cell contains whole rows. Commas in multi-line text are usual; tabs and pipes are
    not."""
    if delimiter not in "\t|" or len(cells) < 2:
        return False
    return any("\n" in cell and delimiter in cell for cell in cells)


def _uneven(cells: list[str], columns: list[str], delimiter: str) -> str:
    """Return the message about a row with too few or too many cells: what it is, and what it should be."""
    text = (
        f"expected {len(columns)} columns (got {len(cells)}). Quote fields that contain {delimiter!r} or a "
    )
    text += "line break."
    extra = len(cells) - len(columns)
    if extra > 0 and len(columns) > 1:
        joined = [delimiter.join(cells[at : at + extra + 1]) for at in range(len(columns))]
        at = max(range(len(joined)), key=lambda place: len(joined[place]))
        should = [*cells[:at], '"' + joined[at].replace('"', '""') + '"', *cells[at + extra + 1 :]]
        text += f" The row is {delimiter.join(cells)[:80]}; it should be, for example, "
        text += f"{delimiter.join(should)[:90]}"
    return text
