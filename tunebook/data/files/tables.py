"""Read the rows of a table file one by one.

In: a JSONL, JSON, CSV, TSV, Parquet, Arrow or Excel file, compressed or not. Out: (line, row) pairs, with a
Problem in place of a row that cannot be read. The readers of each format are in tunebook/data/files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.files.columnar import read_arrow, read_parquet
from tunebook.data.files.delimited import read_delimited
from tunebook.data.files.excel import read_excel
from tunebook.data.files.json_rows import read_json
from tunebook.data.files.other_kinds import instead
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.formats.open_file import COMPRESSED, kind_of, open_bytes
from tunebook.data.formats.place import Numbered

KINDS = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".csv",
    ".tsv",
    ".tab",
    ".psv",
    ".parquet",
    ".arrow",
    ".feather",
    ".xlsx",
)
DELIMITED = (".csv", ".tsv", ".tab", ".psv")
JSON = (".jsonl", ".ndjson", ".json")


def read_table(
    path: Path, options: TableOptions = AS_IT_IS, lists: list[str] | None = None
) -> Iterator[Numbered]:
    """Yield (line, object) of each row, with a Problem in place of a row that cannot be read.

    Args:
        options: how to read the file if it is ambiguous.
        lists: the lists to read from a JSON document that is an object.

    Raises:
        InputError: an unsupported file type, a table without a header, or a file that cannot be read.
    """
    kind = kind_of(path)
    if kind in DELIMITED or (options.delimiter and kind not in KINDS):
        return read_delimited(path, options)
    if kind in JSON:
        return read_json(path, options, lists)
    if kind == ".parquet":
        return read_parquet(path)
    if kind in (".arrow", ".feather"):
        return read_arrow(path)
    if kind == ".xlsx":
        return read_excel(path, options)
    if path.suffix.lower() == ".zip" and not kind:
        with open_bytes(path):
            pass  # says what else is in it
    text = (
        f"unsupported file type. Supported types: {', '.join(KINDS)}, also compressed as "
        f"{', '.join(COMPRESSED)}. "
    )
    text += instead(path) or "For a text file with columns, use DELIMITER=tab or another delimiter."
    raise InputError(Problem(text, show(path), code="data.unknown_kind"))
