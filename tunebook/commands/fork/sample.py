"""A sample of a fork's rows, and what they are.

In: the files of a fork. Out: rows drawn from all of train, how they are read, and what groups them.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunebook.commands.fork.columns import Reading
from tunebook.commands.fork.files import ONE_FILE, DataFiles
from tunebook.commands.fork.options import ForkOptions
from tunebook.commands.fork.recognise import group_column, recognise
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.data.files.split_names import split_column
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.formats.bad_rows import bad_rows
from tunebook.data.formats.rows.picked import picked
from tunebook.data.formats.rows.votes import decided
from tunebook.data.sources import Source, raw_rows

SAMPLE = 2000  # rows that decide what the columns are


def sample(data: DataFiles, folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return rows sampled from all of train (which may be sorted by label), and the first unreadable ones."""
    shares = {f"{split}_share": 0.1 for split in ("dev", "test") if split not in data.splits}
    _, rows = raw_rows(Source.model_validate({**data.source, **shares}), folder, "train")
    drawn = random.Random(0)
    good: list[dict[str, Any]] = []
    faults: list[Problem] = []
    index = -1
    for index, (_, row) in enumerate(rows):
        if isinstance(row, Problem):
            faults.append(row)
        elif isinstance(row, dict):
            if len(good) < SAMPLE:
                good.append(row)
            elif (at := drawn.randrange(index)) < SAMPLE:
                good[at] = row
    if not good:
        if faults:
            raise bad_rows(faults, folder.name, 0)
        if index < 0:
            raise InputError(Problem(f"{data.place}: has no rows.", key="DATA", code="data.no_rows"))
        text = f"{data.place}: its rows have no names for their fields. Write each as an object, such as "
        text += '{"text": "...", "label": "..."} or {"messages": [...]}.'
        raise InputError(Problem(text, key="DATA", code="data.no_rows"))
    return good, faults


def as_read(
    rows: list[dict[str, Any]], place: str, task: str | None, fields: dict[str, str]
) -> list[dict[str, Any]]:
    """Return sampled rows with votes as pairs and with the columns of FIELDS= that are inside others; without
    those at fault, which are reported when all are read.

    Raises:
        InputError: every row is at fault.
    """
    made = []
    fault: RowFault | None = None
    for row in rows:
        try:
            made.append(picked(row if task == "classification" else decided(row), fields.values()))
        except RowFault as error:
            fault = fault or error
    if fault and not made:
        raise InputError(Problem(f"{fault} So in every row.", place, key=fault.field, code=fault.code))
    return made


def recognised(
    rows: list[dict[str, Any]],
    place: str,
    task: str | None,
    fields: dict[str, str],
    table: TableOptions = AS_IT_IS,
) -> Reading:
    """Recognise the rows. Preference pairs count as conversations unless the task is preference."""
    if task != "preference":
        return recognise(rows, place, task, fields, table)
    reading = recognise(rows, place, "chat", fields, table)
    if reading.layout != "preference":
        text = (
            f"{place} has no preference pairs, but the recipe is for preference tuning. Name the columns of "
        )
        text += 'the chosen and the rejected answer: FIELDS="chosen=... rejected=...".'
        raise InputError(Problem(text, key="DATA", code="fork.no_pairs"))
    return replace(reading, task=task)


def group_of(
    options: ForkOptions, rows: list[dict[str, Any]], reading: Reading, place: str
) -> tuple[str | None, str]:
    if not options.group:
        return group_column(rows, reading, place)
    if options.group == "none":
        return None, "none (GROUP=none): all rows are independent"
    there = list(dict.fromkeys(name for row in rows for name in row))
    if options.group not in there and reading.layout != "squad":
        text = f"{place} has no column {options.group!r}. It has: {', '.join(there)}."
        raise InputError(Problem(text, key="--group (GROUP=)", code="option.unknown_column"))
    field = next((name for name, column in reading.columns.items() if column == options.group), options.group)
    return field, f"{options.group} (GROUP=)"


def name_by_line(options: ForkOptions, source: dict[str, Any], repeated_ids: int, place: str) -> None:
    """Ignore an `id` that repeats, if GROUP says what it means.

    Raises:
        InputError: GROUP is not given.
    """
    if not options.group:
        text = f"`id` repeats in {repeated_ids} rows of {place}. Choose: GROUP=id if rows with the same id "
        text += "belong together, another column, or GROUP=none if all rows are independent."
        raise InputError(Problem(text, key="--group (GROUP=)", code="fork.repeated_id"))
    if options.group != "id":
        source["columns"] = {**source.get("columns", {}), "ignored": "id"}


def by_column(data: DataFiles, rows: list[dict[str, Any]]) -> None:
    """Take the splits of one file from the column that names them, where its sampled `rows` have one."""
    files = data.source.get("files", {})
    found = split_column(rows) if [*files] == ["train"] else None
    if found:
        name, splits = found
        data.source |= {"files": dict.fromkeys(splits, files["train"]), "split_column": name}
        data.notes = [note for note in data.notes if note != ONE_FILE]
        data.notes.append(
            f"`{name}` says which rows are {', '.join(splits)}: they stay so. To split them anew: DROP={name}"
        )
