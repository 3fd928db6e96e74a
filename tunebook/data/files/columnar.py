"""The rows of Parquet and Arrow files.

In: a .parquet, .arrow or .feather file. Out: (row number, row) pairs with values as in other formats: label
names for the numbers of a ClassLabel column, short decimals for 32-bit floats.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.formats.open_file import COMPRESSED, open_bytes
from tunebook.data.formats.place import Numbered, plain


def read_parquet(path: Path) -> Iterator[Numbered]:
    """Yield (row number, row).

    Raises:
        InputError: not a Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    with open_bytes(path) as file:
        packed = path.suffix.lower() in COMPRESSED
        try:
            table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(file.read()) if packed else path)
            yield from _rows(table.iter_batches(batch_size=1024), table.schema_arrow)
        except pyarrow.ArrowException as error:
            text = f"not valid Parquet: {error}."
            raise InputError(Problem(text, show(path), code="data.not_parquet")) from None


def read_arrow(path: Path) -> Iterator[Numbered]:
    """Yield (row number, row) of an Arrow stream, as Hugging Face's `datasets` saves it, or an Arrow file.

    Raises:
        InputError: the file is neither of the two.
    """
    import pyarrow

    with open_bytes(path) as file:
        try:
            packed = path.suffix.lower() in COMPRESSED
            opened = pyarrow.BufferReader(file.read()) if packed else pyarrow.memory_map(str(path))
            head = opened.read(6)
            opened.seek(0)
            if head == b"ARROW1":
                reader = pyarrow.ipc.open_file(opened)
                batches: Iterable[Any] = (reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                reader = pyarrow.ipc.open_stream(opened)
                batches = reader
            yield from _rows(batches, reader.schema)
        except (pyarrow.ArrowException, OSError) as error:
            text = f"not a valid Arrow file: {error}."
            raise InputError(Problem(text, show(path), code="data.not_arrow")) from None


def _rows(batches: Iterable[Any], schema: Any) -> Iterator[Numbered]:
    names, short = label_names(schema.metadata or {}), _short_floats(schema)
    odd = [one.name for one in schema if not _is_usual(one.type)]
    numbers = itertools.count(1)
    for batch in batches:
        for row in batch.to_pylist():
            for column, shorten in short.items():
                row[column] = shorten(row[column])
            for column in odd:
                row[column] = plain(row[column])
            yield next(numbers), named_labels(row, names)


def _is_usual(kind: Any) -> bool:
    """Return whether a column contains only text, numbers and booleans."""
    from pyarrow import types

    usual = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(is_kind(kind) for is_kind in usual)


def _short_floats(schema: Any) -> dict[str, Callable[[Any], Any]]:
    """Return, for each column of 32-bit floats, a function that shortens its values: 0.1 for
    0.10000000149011612."""
    import numpy
    import pyarrow

    kinds = {pyarrow.float32(): numpy.float32, pyarrow.float16(): numpy.float16}

    def shorten(kind: Any) -> Callable[[Any], Any]:
        return lambda value: None if value is None else float(str(kind(value)))

    return {one.name: shorten(kinds[one.type]) for one in schema if one.type in kinds}


def label_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of each ClassLabel column, as stored by Hugging Face's `datasets` in a file's
    schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found = {column: _names_in(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names}


def _names_in(feature: Any) -> list[str]:
    """Return the names of a ClassLabel feature, or of a list of it; [] for any other feature."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    label = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return list(feature.get("names") or []) if label else []


def named_labels(row: Any, names: dict[str, list[str]]) -> Any:
    """Return `row` with ClassLabel numbers replaced by their names; -1 means no label."""
    if not names or not isinstance(row, dict):
        return row
    result = dict(row)
    for column, labels in names.items():
        value = row.get(column)
        if isinstance(value, list):
            result[column] = [_named(one, labels) for one in value]
        else:
            result[column] = _named(value, labels)
    return result


def _named(value: Any, labels: list[str]) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    return labels[value] if 0 <= value < len(labels) else None
