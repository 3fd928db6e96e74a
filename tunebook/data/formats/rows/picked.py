"""Columns that are not a field of the row: a value inside an object, or several fields joined.

In: a row, and columns as in FIELDS=: `data.text`, `responses.label.value`, `title+body`. Out: the row with a
field for each of them. A list on the path to a value must have exactly one element, so that nothing is chosen
among several; a value that is a list of one is replaced by its element.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.leaves import held_json
from tunebook.data.formats.listed_texts import choices, passage
from tunebook.data.formats.meaning.meaning_of import meaning_of
from tunebook.data.formats.meaning.meanings import CHOICES, HISTORY, SYSTEM
from tunebook.data.formats.values import ROLE_KEYS, is_empty

Row = dict[str, Any]
GONE = object()
BY_NAME = {*HISTORY, *SYSTEM, "tools", "functions"}  # layouts read these, too


def is_picked(row: Row, column: str) -> bool:
    """Return whether `column` is not a field of the row but refers to a nested value or to several fields."""
    return column not in row and ("." in column or "+" in column)


def picked(row: Row, columns: Collection[str]) -> Row:
    """Return `row` with a field for each of `columns` that is not one yet, and without the fields read here
    that a layout would read again by their name.

    Raises:
        RowFault: a list on the path to a value has several elements, or one of the values to join is not
            text.
    """
    made = row
    for column in columns:
        if not is_picked(row, column):
            continue
        parts = [part.strip() for part in column.split("+")]
        values = [_inside(row, part) for part in parts]
        read = {part if part in row else part.partition(".")[0] for part in parts}
        made = {name: value for name, value in made.items() if name not in read or name not in BY_NAME}
        if any(value is not GONE for value in values):
            made[column] = values[0] if len(parts) == 1 else _joined(parts, values)
    return made


def sources(columns: Collection[str]) -> set[str]:
    """Return the fields of a row from which columns are made."""
    parts = {part.strip() for column in columns for part in column.split("+")}
    return parts | {part.partition(".")[0] for part in parts}


def _joined(parts: list[str], values: list[Any]) -> str:
    values = ["" if value is GONE else value for value in values]  # rows need not have all of them
    for at, (part, value) in enumerate(zip(parts, values, strict=True)):
        if isinstance(value, (dict, list)):
            made = choices(value) if meaning_of(part.rpartition(".")[2]) is CHOICES else passage(value)
            if made is None and not is_empty(value):
                raise RowFault(part, "expected text, to be joined with the other fields.", "rows.not_text")
            values[at] = made
    return "\n\n".join(str(value).strip() for value in values if not is_empty(value))


def _inside(row: Row, path: str) -> Any:
    """Return the value at a dotted path, or GONE if there is none."""
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        value = _only(value, path)
        held = held_json(value)
        value = held if held is not None else value
        value = _only(value, path)
        if not isinstance(value, dict) or step not in value:
            return GONE
        value = value[step]
    return value[0] if isinstance(value, list) and len(value) == 1 and not _are_turns(value) else value


def _only(value: Any, path: str) -> Any:
    """Return the only element of a list; return any other value unchanged, including a list of turns."""
    if not isinstance(value, list) or _are_turns(value):
        return value
    if len(value) > 1:
        message = f"expected a list with one value (got {len(value)}: {value!r:.60}). Drop the row."
        raise RowFault(path, message, "rows.several_inside")
    return value[0] if value else None


def _are_turns(value: list[Any]) -> bool:
    return bool(value) and all(
        isinstance(one, dict) and any(key in one for key in ROLE_KEYS) for one in value
    )
