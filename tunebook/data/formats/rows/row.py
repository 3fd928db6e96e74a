"""Helpers for every layout: a field by its column, a text, the columns that nothing reads."""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.texts import text

Row = dict[str, Any]
Columns = dict[str, str]


def value_of(row: Row, name: str, columns: Columns) -> Any:
    column = columns.get(name, name)
    if column not in row:
        raise RowFault(column, "missing.", "rows.missing_field")
    return row[column]


def text_of(row: Row, name: str, columns: Columns) -> str:
    return text(value_of(row, name, columns), columns.get(name, name))


def other_columns(row: Row, columns: Columns) -> Row:
    """Return the columns of the row that the layout did not read."""
    return {key: value for key, value in row.items() if key not in columns.values()}
