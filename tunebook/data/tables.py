"""Read the rows of a table file one by one.

In: a JSONL, JSON, CSV, TSV, Parquet or Excel file, compressed or not. Out: (line, row) pairs, where a row
that cannot be read is a Problem.
"""

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
NOT_UTF8 = "not UTF-8 text. Save the file as UTF-8."
CSV_CELL = 1 << 30  # characters; Python's own limit of 131,072 would refuse long texts


def read_table(path: Path) -> Iterator[Numbered]:
    """Yield (line, object) of each row, with a Problem in place of a row that cannot be read.

    Raises:
        InputError: an unsupported file type, a table without a header, or a file that cannot be read.
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
        text = f"unsupported file type.{hint} Supported: {', '.join(KINDS)}, "
        text += f"also compressed as {packed}."
        raise InputError(Problem(text, show(path), code="data.unknown_kind"))
    return reader(path)


def _read_jsonl(path: Path) -> Iterator[Numbered]:
    with open_text(path) as file:
        for number, text in enumerate(file, 1):
            try:
                if is_broken(text):
                    yield number, fault(NOT_UTF8, show(path), number, None, "rows.not_utf8")
                elif text.strip():
                    value = json.loads(text.rstrip())
                    if "\\u" in text:
                        json.dumps(value, ensure_ascii=False).encode()  # fails on an unpaired surrogate
                    yield number, value
            except RecursionError:
                yield number, fault("nested too deeply.", show(path), number, None, "rows.nested_too_deeply")
            except UnicodeEncodeError:
                text = "contains an unpaired surrogate (invalid Unicode)."
                yield number, fault(text, show(path), number, None, "rows.bad_surrogate")
            except json.JSONDecodeError as error:
                text = (
                    f"invalid JSON at column {error.colno}: {error.msg}. Each line must be one JSON object."
                )
                yield number, fault(text, show(path), number, None, "rows.not_json")


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
                    text = "contains an unpaired surrogate or bytes that are not UTF-8."
                    yield spot, fault(text, show(path), spot, None, "rows.bad_surrogate")
    except JsonFault as error:
        text = f"not a JSON list of rows: {error}."
        yield error.line, fault(text, show(path), error.line, None, "data.not_json_list")
    except RecursionError:
        raise InputError(Problem("nested too deeply.", show(path), code="rows.nested_too_deeply")) from None


def _is_jsonl(path: Path) -> bool:
    """Return whether a .json file has one object per line, as in many exports."""
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
            text = "empty file. The first line must contain the column names."
            raise InputError(Problem(text, show(path), code="data.no_header"))
        commas = "\t" if kind_of(path) == ".tsv" else max(",;\t", key=head.count)
        reader = csv.reader(itertools.chain([head], file), strict=True, delimiter=commas)
        try:
            columns = _columns(next(reader), path)
            begins = reader.line_num + 1
            for cells in reader:
                line, begins = begins, reader.line_num + 1
                if len(cells) == len(columns):
                    if any(map(is_broken, cells)):
                        yield line, fault(NOT_UTF8, show(path), line, None, "rows.not_utf8")
                    else:
                        yield line, dict(zip(columns, cells, strict=True))
                elif cells:
                    text = f"expected {len(columns)} columns (got {len(cells)}). Quote fields that contain "
                    text += f"{commas!r} or a line break."
                    yield line, fault(text, show(path), line, None, "rows.column_count")
        except csv.Error as error:
            raise InputError(
                Problem(f"not valid CSV: {error}.", show(path), begins, code="data.not_csv")
            ) from None


def _columns(names: Iterable[Any], path: Path) -> list[str]:
    """Return the column names of a header; a column without a name gets its number.

    Raises:
        InputError: two columns have the same name.
    """
    columns = [
        str(name).strip() if name not in (None, "") else f"column_{index}"
        for index, name in enumerate(names, 1)
    ]
    for name in columns:
        if columns.count(name) > 1:
            text = f"two columns are named {name!r}. Rename one."
            raise InputError(Problem(text, show(path), 1, code="data.repeated_column"))
        if is_broken(name):
            raise InputError(Problem(NOT_UTF8, show(path), 1, code="rows.not_utf8"))
    return columns


def _read_parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    with open_bytes(path) as file:
        packed = path.suffix.lower() in COMPRESSED
        try:
            table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(file.read()) if packed else path)
            names = _label_names(table.schema_arrow.metadata or {})
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, named_labels(row, names)
        except pyarrow.ArrowException as error:
            raise InputError(
                Problem(f"not valid Parquet: {error}.", show(path), code="data.not_parquet")
            ) from None


def _label_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of each ClassLabel column that Hugging Face's `datasets` notes in a Parquet file."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def named_labels(row: Any, names: dict[str, list[str]]) -> Any:
    """Return `row` with the numbers of ClassLabel columns as their names; -1 stands for no label."""
    if not names or not isinstance(row, dict):
        return row
    result = dict(row)
    for column, labels in names.items():
        value = row.get(column)
        if isinstance(value, int) and not isinstance(value, bool):
            result[column] = labels[value] if 0 <= value < len(labels) else None
    return result


def _read_excel(path: Path) -> Iterator[Numbered]:
    import openpyxl

    with open_bytes(path) as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            text = f"not a valid Excel file (.xlsx): {error}."
            raise InputError(Problem(text, show(path), code="data.not_excel")) from None
        if len(book.sheetnames) > 1:
            names = ", ".join(book.sheetnames)
            text = f"has several sheets ({names}). Keep only the sheet with the rows."
            raise InputError(Problem(text, show(path), code="data.several_sheets"))
        rows = book[book.sheetnames[0]].iter_rows(values_only=True)
        header = next(rows, None)
        if header is None or not any(header):
            text = "empty sheet. The first row must contain the column names."
            raise InputError(Problem(text, show(path), code="data.no_header"))
        columns = _columns(header, path)
        for number, cells in enumerate(rows, 2):
            if any(cell is not None for cell in cells):
                yield number, dict(itertools.zip_longest(columns, cells[: len(columns)]))
