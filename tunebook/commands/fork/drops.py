"""DROP=: fields that the user ignores on purpose, and all fields for which a row would be refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.commands.fork.files import DataFiles
from tunebook.commands.fork.options import read_drop
from tunebook.commands.fork.ways import LOOKED_AT, NOT_READ, to_drop
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.leaves import held_json, leaves, without_fields
from tunebook.data.formats.values import typed
from tunebook.data.sources import Source, raw_rows


def without(drop: str, rows: list[dict[str, Any]], data: DataFiles) -> list[dict[str, Any]]:
    """Return `rows` without the fields of `--drop`, which are then listed in dataset.yaml.

    Raises:
        InputError: no row or turn has such a field.
    """
    names = read_drop(drop)
    there = set(_field_names(rows))
    paths = {leaf.path.replace("[]", "") for row in rows for leaf in leaves(row)}
    for name in names:
        if name in data.beside:
            continue
        if name not in there and not any(path == name or path.startswith(f"{name}.") for path in paths):
            names_there = ", ".join(sorted(there))
            text = f"no row or turn of {data.place} has a field {name!r}. Available: {names_there}."
            raise InputError(Problem(text, key="--drop (DROP=)", code="option.unknown_field"))
    if names:
        data.source["drop"] = names
    return [without_fields(row, names) for row in rows]


def _field_names(value: Any) -> Iterator[str]:
    """Yield the name of each field of rows and of objects inside them."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _field_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _field_names(item)
    elif (held := held_json(value)) is not None:
        yield from _field_names(held)


def with_all_drops(error: InputError, source: Source, folder: Path) -> InputError:
    """Return `error` with a single option for all refused fields if there are several; a row is refused for
    its first such field."""
    if NOT_READ not in error.codes:
        return error
    had = len(source.drop)

    def faults(names: list[str]) -> Iterator[Problem]:
        _, rows = raw_rows(source.model_copy(update={"drop": names}), folder, "train")
        return (row for _, row in itertools.islice(rows, LOOKED_AT) if isinstance(row, Problem))

    names = to_drop(faults, list(source.drop))
    if len(names) < had + 2:
        return error
    every = " ".join(map(typed, names))
    text = f'{error}\nTo ignore all of them: --drop "{every}" (DROP="{every}").'
    return InputError(text, problems=error.problems)
