"""Read rows of a file one by one, each with the place it stands at; gzip and Zstandard are unpacked."""

from __future__ import annotations

import csv
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.formats.json_stream import JsonFault, stream
from tunebook.data.formats.open_file import COMPRESSED, is_broken, kind_of, open_bytes, open_text
from tunebook.data.formats.place import Numbered, Spot, fault

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xlsx")
CSV_CELL = 1 << 30  # characters; Python's own limit of 131,072 would refuse long texts


def read_table(path: Path) -> Iterator[Numbered]:
    """Yield (line, object) of each row; a row that cannot be read comes as a Problem instead.

    Raises:
        InputError: another kind of file, a table without a header, or one that cannot be read.
    """
    reader = {
        ".jsonl": _read_jsonl,
        ".json": _read_json,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
        ".xlsx": _read_excel,
    }.get(kind_of(path))
    if reader is None:
        packed = ", ".join(COMPRESSED)
        hint = " Save it as .xlsx." if kind_of(path) in (".xls", ".xlsm", ".ods") else ""
        raise InputError(
            f"{show(path)}: not a kind of file that can be read.{hint} Give {', '.join(KINDS)}, "
            f"or one of them packed as {packed}."
        )
    return reader(path)


def _read_jsonl(path: Path) -> Iterator[Numbered]:
    with open_text(path) as file:
        for number, text in enumerate(file, 1):
            try:
                if is_broken(text):
                    yield number, Problem("not UTF-8 text. Save the file as UTF-8.", show(path), number)
                elif text.strip():
                    value = json.loads(text.rstrip())
                    if "\\u" in text:
                        json.dumps(value, ensure_ascii=False).encode()  # fails on half of a surrogate pair
                    yield number, value
            except RecursionError:
                yield number, Problem("nested too deeply.", show(path), number)
            except UnicodeEncodeError:
                yield number, Problem("holds half of a surrogate pair.", show(path), number)
            except json.JSONDecodeError as error:
                said = f"not JSON: {error.msg} at column {error.colno}. Each line must hold one JSON object."
                yield number, Problem(said, show(path), number)


def _read_json(path: Path) -> Iterator[Numbered]:
    if _is_jsonl(path):
        yield from _read_jsonl(path)
        return
    try:
        with open_text(path) as file:
            for line, where, value in stream(file):
                spot = Spot.of(line, where)
                try:
                    json.dumps(value, ensure_ascii=False).encode()
                    yield spot, value
                except UnicodeEncodeError:
                    text = "holds half of a surrogate pair, or bytes that are not UTF-8."
                    yield spot, fault(text, show(path), spot)
    except JsonFault as error:
        yield error.line, Problem(f"not a JSON list of rows: {error}.", show(path), error.line)
    except RecursionError:
        raise InputError(f"{show(path)}: nested too deeply.") from None


def _is_jsonl(path: Path) -> bool:
    """Return whether a .json file holds one object a line, as many exports do."""
    with open_text(path) as file:
        first, second = file.readline(1 << 20), file.readline(1 << 20)
    try:
        return isinstance(json.loads(first), dict) and bool(second.strip())
    except ValueError:
        return False


def _read_csv(path: Path) -> Iterator[Numbered]:
    csv.field_size_limit(CSV_CELL)
    begins = 1
    with open_text(path, newline="") as file:
        head = file.readline()
        if not head.strip():
            raise InputError(f"{show(path)}: is empty. Its first line must name the columns.")
        commas = "\t" if kind_of(path) == ".tsv" else max(",;\t", key=head.count)
        reader = csv.reader(itertools.chain([head], file), strict=True, delimiter=commas)
        try:
            columns = _columns(next(reader), path)
            begins = reader.line_num + 1
            for cells in reader:
                line, begins = begins, reader.line_num + 1
                if len(cells) == len(columns):
                    if any(map(is_broken, cells)):
                        yield line, Problem("not UTF-8 text. Save the file as UTF-8.", show(path), line)
                    else:
                        yield line, dict(zip(columns, cells, strict=True))
                elif cells:
                    text = f"expected {len(columns)} columns (got {len(cells)}). Quote fields that hold "
                    yield line, Problem(text + f"{commas!r} or a line end.", show(path), line)
        except csv.Error as error:
            raise InputError(f"{show(path)}:{begins}: not CSV: {error}.") from None


def _columns(names: Iterable[Any], path: Path) -> list[str]:
    """Return the names in a header; one that is empty is called by its number.

    Raises:
        InputError: two columns have one name.
    """
    columns = [
        str(name).strip() if name not in (None, "") else f"column_{index}"
        for index, name in enumerate(names, 1)
    ]
    for name in columns:
        if columns.count(name) > 1:
            raise InputError(f"{show(path)}:1: two columns are called {name!r}. Rename one.")
        if is_broken(name):
            raise InputError(f"{show(path)}:1: not UTF-8 text. Save the file as UTF-8.")
    return columns


def _read_parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    with open_bytes(path) as file:
        packed = path.suffix.lower() in COMPRESSED
        try:
            table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(file.read()) if packed else path)
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except pyarrow.ArrowException as error:
            raise InputError(f"{show(path)}: not Parquet: {error}.") from None


def _read_excel(path: Path) -> Iterator[Numbered]:
    import openpyxl

    with open_bytes(path) as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise InputError(f"{show(path)}: not an Excel file (.xlsx): {error}.") from None
        if len(book.sheetnames) > 1:
            names = ", ".join(book.sheetnames)
            raise InputError(f"{show(path)}: has several sheets ({names}). Keep the one with the rows.")
        rows = book[book.sheetnames[0]].iter_rows(values_only=True)
        header = next(rows, None)
        if header is None or not any(header):
            raise InputError(f"{show(path)}: is empty. Its first row must name the columns.")
        columns = _columns(header, path)
        for number, cells in enumerate(rows, 2):
            if any(cell is not None for cell in cells):
                yield number, dict(itertools.zip_longest(columns, cells[: len(columns)]))
