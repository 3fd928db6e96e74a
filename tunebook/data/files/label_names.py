"""Names for the labels in a file.

In: `source.label_names` of dataset.yaml, or a file given with LABELS=. Out: rows with label names instead of
values. A value without a name is a fault; rows whose name is null are dropped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.files import from_json
from tunebook.core.paths import show
from tunebook.data.formats.open_file import open_text
from tunebook.data.formats.place import Numbered, fault
from tunebook.data.formats.texts import text

LabelNames = dict[str, str | None]
WHOLE = re.compile(r"([-+]?\d+)\.0+")


def with_names(rows: Iterator[Numbered], column: str, names: LabelNames, place: str) -> Iterator[Numbered]:
    """Yield rows with the value in `column` replaced by its name, without rows whose name is null."""
    for number, row in rows:
        if isinstance(row, Problem) or not isinstance(row, dict) or row.get(column) in (None, ""):
            yield number, row
            continue
        try:
            value = text(row[column], column)
        except RowFault as error:
            yield number, fault(str(error), place, number, error.field, error.code)
            continue
        if value not in names:
            message = f"{value!r} has no name in source.label_names of dataset.yaml (LABELS= of fork)."
            yield number, fault(message, place, number, column, "labels.no_name")
        elif (name := names[value]) is not None:
            yield number, {**row, column: name}


def read_names(path: Path, values: list[str]) -> LabelNames:
    """Read a file of label names: one name per line (of class 0, 1, ...), two columns (value, name; CSV, TSV
    or semicolons), a JSON list of names, or a JSON object from value to name (`id2label`) or from name to
    number (`label2id`). Rows of a value with an empty (or null) name are dropped.

    Args:
        values: the labels in the rows.

    Raises:
        InputError: there is no such file, it has another form, or it is unclear which number is the first.
    """
    place, key = show(path), "--labels (LABELS=)"
    if not path.is_file():
        raise InputError(Problem(f"{path}: no such file.", key=key, code="fork.no_such_file"))
    with open_text(path) as file:
        content = file.read()
    if path.suffix.lower() == ".json":
        try:
            read = from_json(content)
        except ValueError as error:
            line = getattr(error, "lineno", None)
            raise InputError(Problem(f"not JSON: {error}.", place, line, code="labels.bad_names")) from None
        if isinstance(read, dict) and isinstance(read.get("id2label"), dict):
            read = read["id2label"]  # a model's config.json
        return _of_json(read, values, place)
    lines = [line for line in content.splitlines() if line.strip()]
    delimiter = next((one for one in "\t;," if all(one in line for line in lines)), None)
    if not lines:
        raise InputError(Problem("has no names.", place, code="labels.bad_names"))
    if delimiter is None:
        return _numbered([line.strip() for line in lines], values, place)
    pairs = [row[:2] for row in csv.reader(lines, delimiter=delimiter)]
    if pairs[0][0].strip() not in values and len(pairs) > 1:
        pairs = pairs[1:]  # a line of column names
    return _of_pairs([(value.strip(), name.strip() or None) for value, name in pairs], values, place)


def _of_json(read: Any, values: list[str], place: str) -> LabelNames:
    if isinstance(read, list) and all(isinstance(name, str) for name in read):
        return _numbered(read, values, place)
    if isinstance(read, dict) and all(isinstance(name, (str, type(None))) for name in read.values()):
        return _of_pairs(list(read.items()), values, place)
    if isinstance(read, dict) and all(isinstance(number, int) for number in read.values()):
        return _of_pairs([(str(number), name) for name, number in read.items()], values, place)
    text = 'expected {"0": "name", ...}, {"name": 0, ...} or ["name", ...].'
    raise InputError(Problem(text, place, code="labels.bad_names"))


def _numbered(names: list[str], values: list[str], place: str) -> LabelNames:
    """Return names by number, counted from 0 or from 1 like the values."""
    numbers = {int(match.group(1)): value for value in values if (match := _number(value))}
    if len(numbers) < len(values):
        odd = next(value for value in values if not _number(value))
        text = f"has one name per line, for numbered classes, but the rows have the label {odd!r}. Write two "
        text += "columns: value,name."
        raise InputError(Problem(text, place, code="labels.bad_names"))
    from_zero = 0 in numbers and max(numbers) < len(names)
    from_one = 0 not in numbers and max(numbers) == len(names)
    if not (from_zero or from_one):
        text = (
            f"has {len(names)} names, but the labels are {min(numbers)} to {max(numbers)}: it is unclear "
            "which "
        )
        text += "name belongs to which label. Write two columns: value,name."
        raise InputError(Problem(text, place, code="labels.bad_names"))
    return {value: names[number - from_one] for number, value in sorted(numbers.items())}


def _number(value: str) -> re.Match[str] | None:
    return re.fullmatch(r"([-+]?\d{1,18})(?:\.0+)?", value)


def _of_pairs(pairs: list[tuple[str, str | None]], values: list[str], place: str) -> LabelNames:
    names = dict(pairs)
    found: LabelNames = {}
    for value in values:
        written = value if value in names else WHOLE.sub(r"\1", value)
        if written not in names:
            text = f"has no name for the label {value!r}. Add one, or an empty name to drop its rows."
            raise InputError(Problem(text, place, code="labels.no_name"))
        found[value] = names[written]
    return found
