"""The same rows through any two kinds of file render to the same bytes."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from tunebook.data.dataset import Dataset
from tunebook.data.render import render_all

# Each value of `label`, and the text that a person writes for it where there is only text (CSV, JSON).
VALUES: list[tuple[Any, str]] = [
    (7, "7"),
    (0, "0"),
    (-3, "-3"),
    (2.0, "2"),
    (0.1, "0.1"),
    (1e-07, "1e-07"),
    (123456789012345, "123456789012345"),
    (True, "true"),
    (False, "false"),
    (date(2026, 1, 5), "2026-01-05"),
    (datetime(2026, 1, 5, 14, 30), "2026-01-05 14:30:00"),
    ("007", "007"),
    ("1.0", "1.0"),
    ("True", "True"),
    ("12345678901234567890", "12345678901234567890"),
    ("caf\u00e9, \u9000\u6b3e", "caf\u00e9, \u9000\u6b3e"),
    ('say "hi"', 'say "hi"'),
    ("two\nlines", "two\nlines"),
    (" blanks ", "blanks"),
    ("nan", "nan"),
    ("null", "null"),
    ("=1+1", "=1+1"),
]
LABELS = [text for _, text in VALUES]
TEXTS = [f"the kettle number {number} hums" for number in range(len(VALUES))]
Write = Callable[[Path, list[str], list[list[Any]]], None]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dates as texts."""
    return str(value) if isinstance(value, (date, datetime)) else value


def delimited(by: str) -> Write:
    def write(path: Path, names: list[str], rows: list[list[Any]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=by)
            writer.writerow(names)
            for row in rows:
                writer.writerow("" if cell is None else written(cell) for cell in row)

    return write


def written(cell: Any) -> str:
    """Return the text of a value; True is no 1 here, and a text stays what it is."""
    if isinstance(cell, str):
        return cell
    return next(text for value, text in VALUES if value == cell and type(value) is type(cell))


def as_json(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    made = [dict(zip(names, map(plain, row), strict=True)) for row in rows]
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")


def as_lines(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    made = (json.dumps(dict(zip(names, map(plain, row), strict=True))) for row in rows)
    path.write_text("\n".join(made) + "\n", encoding="utf-8")


def as_sheet(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(names)
    for line, row in enumerate(rows, 2):
        for at, value in enumerate(row, 1):
            cell = book.active.cell(line, at, value)
            if isinstance(value, str):
                cell.data_type = "s"  # `=1+1` is a text here
    book.save(path)


def columns_of(rows: list[list[Any]], names: list[str]) -> Any:
    """Return an Arrow table; a column has one type, so that each row has a column of its own for its
    label."""
    import pyarrow

    return pyarrow.table({name: [row[at] for row in rows] for at, name in enumerate(names)})


def as_parquet(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(columns_of(rows, names), path)


def as_arrow(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    import pyarrow

    table = columns_of(rows, names)
    with pyarrow.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table)


def as_feather(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    import pyarrow

    table = columns_of(rows, names)
    with pyarrow.ipc.new_file(str(path), table.schema) as file:
        file.write_table(table)


WRITERS: dict[str, Write] = {
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".psv": delimited("|"),
    ".json": as_json,
    ".jsonl": as_lines,
    ".xlsx": as_sheet,
    ".parquet": as_parquet,
    ".arrow": as_arrow,
    ".feather": as_feather,
}


def rendered(folder: Path, kind: str, number: int) -> bytes:
    """Return the rendered bytes of two rows: one with the value of `number` and one with nothing but a text,
    whose empty cells must change nothing."""
    folder = folder / f"{kind[1:]}-{number}"
    folder.mkdir()
    value = VALUES[number][0]
    rows = [[TEXTS[number], value, None], [f"{TEXTS[number]} again", value, "x"]]
    WRITERS[kind](folder / f"rows{kind}", ["text", "label", "note"], rows)
    source = {"files": dict.fromkeys(("train", "dev", "test"), f"rows{kind}"), "reader": "labels"}
    dataset = Dataset.model_validate(
        {
            "folder": folder,
            "name": "same",
            "task": "classification",
            "licence": "Apache-2.0",
            "source": source,
            "system": "Name it.",
            "prompt": "{{ text }}",
            "answer": "{{ label }}",
            "labels": LABELS,
        }
    )
    rows_of = render_all(dataset)["train"]
    assert [row["messages"][-1]["content"] for row in rows_of] == [VALUES[number][1]] * 2
    kept = [{key: value for key, value in row.items() if key not in ("id", "group")} for row in rows_of]
    return json.dumps(kept, ensure_ascii=False, sort_keys=True).encode()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(VALUES)), ids=[repr(value)[:24] for value, _ in VALUES])
def test_any_two_kinds_of_file_render_alike(number: int, tmp_path: Path) -> None:
    found = {kind: rendered(tmp_path, kind, number) for kind in WRITERS}
    for one, other in itertools.combinations(found, 2):
        assert found[one] == found[other], (one, other)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("empty", [None, "", float("nan")], ids=["none", "empty text", "NaN"])
def test_an_empty_label_is_a_fault_in_every_kind_of_file(kind: str, empty: Any, tmp_path: Path) -> None:
    from tunebook.data.files.tables import read_table
    from tunebook.data.formats.rows.layouts import read_layout

    path = tmp_path / f"rows{kind}"
    cell = None if kind in (".csv", ".tsv", ".psv", ".xlsx") and empty != "" else empty
    rows = [["hello you", cell], ["hello me", cell]]
    WRITERS[kind](path, ["text", "label"], rows)
    found = [row for _, row in read_layout(read_table(path), "labels", {}, "rows")]
    assert [getattr(row, "code", row) for row in found] == ["rows.empty_text"] * 2
