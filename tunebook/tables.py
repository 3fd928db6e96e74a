"""Read rows of a JSONL, CSV or Parquet file one by one, each with the place it stands at."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.errors import InputError, Problem
from tunebook.paths import show

KINDS = (".jsonl", ".csv", ".parquet")
Numbered = tuple[int, Any]  # line of the file (row number in Parquet), from 1; an object or a Problem


def read_table(path: Path) -> Iterator[Numbered]:
    """Yield (line, object) of each row; a row that cannot be read comes as a Problem instead.

    Raises:
        InputError: another kind of file, a CSV without a header, or Parquet that cannot be read.
    """
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    raise InputError(f"{show(path)}: not a kind of table that can be read. Give {', '.join(KINDS)}.")


def _read_jsonl(path: Path) -> Iterator[Numbered]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8")
                if text.strip():
                    value = json.loads(text)
                    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair fails here
                    yield number, value
            except RecursionError:
                yield number, Problem("nested too deeply.", show(path), number)
            except UnicodeEncodeError:
                yield number, Problem("holds half of a surrogate pair.", show(path), number)
            except UnicodeDecodeError:
                yield number, Problem("not UTF-8 text. Save the file as UTF-8.", show(path), number)
            except json.JSONDecodeError as error:
                text = f"not JSON: {error.msg} at column {error.colno}. Each line must hold one JSON object."
                yield number, Problem(text, show(path), number)


def _read_csv(path: Path) -> Iterator[Numbered]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if not reader.fieldnames:
                raise InputError(f"{show(path)}: is empty. Its first line must name the columns.")
            for row in reader:
                if None in row or None in row.values():
                    text = f"expected {len(reader.fieldnames)} columns. Quote fields that hold a comma."
                    yield reader.line_num, Problem(text, show(path), reader.line_num)
                else:
                    yield reader.line_num, row
    except UnicodeDecodeError:
        raise InputError(f"{show(path)}: not UTF-8 text. Save the file as UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"{show(path)}:{reader.line_num}: not CSV: {error}.") from None


def _read_parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pyarrow.ArrowException as error:
        raise InputError(f"{show(path)}: not Parquet: {error}.") from None
