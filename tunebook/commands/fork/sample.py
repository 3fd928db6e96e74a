"""A sample of a fork's rows, and how to read it.

In: the files of a fork. Out: rows sampled from all of train, how they are read, and what groups them.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunebook.commands.fork.columns import GROUPS, Reading
from tunebook.commands.fork.files import ONE_FILE, DataFiles
from tunebook.commands.fork.options import ForkOptions
from tunebook.commands.fork.recognise import recognise
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.data.files.split_names import half_known, split_column
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.formats.bad_rows import bad_rows
from tunebook.data.formats.leaves import held_json
from tunebook.data.formats.rows.picked import picked
from tunebook.data.formats.rows.row import Row
from tunebook.data.formats.rows.votes import decided
from tunebook.data.formats.values import dropped, is_empty, plain_name, variable
from tunebook.data.sources import Source, kept_and_read, raw_rows, untouched_rows
from tunebook.data.splits import time_of

SAMPLE = 2000  # rows that decide what the columns are
TARGETS = ("label", "completion", "answers", "chosen")
LOOKED_AT = 200  # rows
MANY_GROUPS, ROWS_A_GROUP = 24, 2  # values of a column that may be a group, and rows of each on average


def sample(data: DataFiles, folder: Path) -> tuple[list[Row], list[Problem]]:
    """Return rows sampled from all of train (which may be sorted by label), and the first unreadable ones."""
    shares = {f"{split}_share": 0.1 for split in ("dev", "test") if split not in data.splits}
    source = Source.model_validate({**data.source, **shares})
    name, untouched = untouched_rows(source, folder, "train")
    there = itertools.count()
    rows = kept_and_read(source, folder, (row for row in untouched if next(there) >= 0), name)
    drawn = random.Random(0)
    good: list[Row] = []
    faults: list[Problem] = []
    encoded = False  # a row is a text that is JSON itself
    index = -1
    for index, (_, row) in enumerate(rows):
        if isinstance(row, Problem):
            faults.append(row)
        elif isinstance(row, str):
            encoded = encoded or isinstance(held_json(row), dict)
        elif isinstance(row, dict):
            if len(good) < SAMPLE:
                good.append(row)
            elif (at := drawn.randrange(index)) < SAMPLE:
                good[at] = row
    total = next(there)
    if source.where:
        same = ": it changes nothing" * (total == index + 1)
        data.notes.append(f"WHERE= keeps {index + 1} of {total} rows of train{same}")
    if not good:
        if faults:
            raise bad_rows(faults, folder.name, 0)
        if index < 0 < total and source.where:
            text = f"keeps none of the {total} rows of {data.place} (got {source.where!r})."
            raise InputError(Problem(text, key="--where (WHERE=)", code="data.no_rows"))
        if index < 0:
            raise InputError(Problem(f"{data.place}: there are no rows.", key="DATA", code="data.no_rows"))
        if encoded:
            text = (
                f"{data.place}: each line is a JSON text that contains the row as JSON. Decode it once: "
                '.venv/bin/python -c "import sys, json; [print(json.loads(line)) for line in sys.stdin]" '
                f"< {shlex.quote(data.place)} > rows.jsonl"
            )
            raise InputError(Problem(text, key="DATA", code="data.encoded_twice"))
        text = f"{data.place}: the rows have no field names. Write each row as an object, such as "
        text += '{"text": "...", "label": "..."} or {"messages": [...]}.'
        raise InputError(Problem(text, key="DATA", code="data.no_rows"))
    return good, faults


def as_read(rows: list[Row], place: str, task: str | None, fields: dict[str, str]) -> list[Row]:
    """Return sampled rows with votes as pairs and with the columns of FIELDS= that are inside others; without
    those at fault, which are reported when all are read.

    Raises:
        InputError: every row is faulty.
    """
    made = []
    fault: RowFault | None = None
    for row in rows:
        try:
            row = row if task == "classification" else decided(row, fields.get("better"))
            made.append(picked(row, fields.values()))
        except RowFault as error:
            fault = fault or error
    if fault and not made:
        raise InputError(
            Problem(f"{fault} This applies to every row.", place, key=fault.field, code=fault.code)
        )
    return made


def recognised(
    rows: list[Row],
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


def group_of(options: ForkOptions, rows: list[Row], reading: Reading, place: str) -> tuple[str | None, str]:
    if not options.group:
        return _group_column(rows, reading, place)
    if options.group == "none":
        return None, "none (GROUP=none): all rows are independent"
    there = list(dict.fromkeys(name for row in rows for name in row))
    if options.group not in there and reading.layout != "squad":
        text = f"{place} has no column {options.group!r}. It has: {', '.join(there)}."
        raise InputError(Problem(text, key="--group (GROUP=)", code="option.unknown_column"))
    field = next((name for name, column in reading.columns.items() if column == options.group), options.group)
    return field, f"{options.group} (GROUP=)"


def _group_column(rows: list[Row], reading: Reading, place: str) -> tuple[str | None, str]:
    """Return the column of the group that rows belong to, or None, and the reason.

    Raises:
        InputError: more than one column could be the group.
    """
    if reading.layout == "squad":
        return "title", "the article: its paragraphs share facts"
    if reading.layout == "oasst_best_paths":
        return "tree", "the tree of messages, of which one path is read"
    candidates = []
    for name in dict.fromkeys(name for row in rows for name in row):
        if plain_name(name) in GROUPS and name not in reading.columns.values():
            values = [row.get(name) for row in rows]
            scalar = all(isinstance(value, (str, int)) and value != "" for value in values)
            if scalar and 1 < len(set(values)) < len(values):
                candidates.append(name)
    if len(candidates) > 1:
        names = ", ".join(f"GROUP={name}" for name in candidates)
        text = (
            f"more than one column of {place} could be the group ({', '.join(candidates)}). Choose: {names}, "
        )
        text += "or GROUP=none if all rows are independent."
        raise InputError(Problem(text, key="--group (GROUP=)", code="fork.ambiguous_group"))
    if candidates:
        name = candidates[0]
        return name, f"values of `{name}` repeat: rows with the same value stay in one split"
    if reading.layout == "qa":
        return "context", "the passage: its questions share facts"
    return None, "no column groups the rows: all rows are independent"


def other_splits(rows: list[Row], reading: Reading) -> list[str]:
    """Return what to type for splits by a column that nobody named: its values repeat, or are times."""
    found = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if name in reading.columns.values() or not all(isinstance(value, (str, int)) for value in values):
            continue
        distinct = len(set(values))
        if all(_is_time(value, name) for value in values) and distinct > 1:
            found.append(f"TIME={name} (the newest rows are held out)")
        elif MANY_GROUPS <= distinct <= len(values) / ROWS_A_GROUP:
            found.append(f"GROUP={name} (rows of one, as {values[0]!r:.20}, stay together)")
    return found


def _is_time(value: Any, name: str) -> bool:
    """Whether a value is a date or time as text; numbers could be anything."""
    try:
        return isinstance(value, str) and not value.isdecimal() and time_of({name: value}, name) > 0
    except RowFault:
        return False


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


def by_column(data: DataFiles, rows: list[Row]) -> None:
    """Take the splits of one file from the column that names them, where its sampled `rows` have one."""
    files = data.source.get("files", {})
    found = split_column(rows) if [*files] == ["train"] else None
    if not found and [*files] == ["train"] and (partly := half_known(rows)):
        name, known, other = partly
        test = f"{variable([name])} in {(*known,)!r}"
        text = (
            f"`{name}` of {data.place} assigns rows to {', '.join(known)}, but "
            f"{', '.join(map(repr, other[:5]))} "
            f'is none of train, dev and test. Keep the rows of the splits: WHERE="{test}". To split all rows '
            f"again: DROP={dropped([name])}."
        )
        raise InputError(Problem(text, key="DATA", code="data.unknown_split"))
    if found:
        name, splits = found
        data.source |= {"files": dict.fromkeys(splits, files["train"]), "split_column": name}
        data.notes = [note for note in data.notes if note != ONE_FILE]
        data.notes.append(
            f"`{name}` assigns the rows to {', '.join(splits)}, and this split is kept. To split again: "
            f"DROP={name}"
        )


def without_answers(data: DataFiles, reading: Reading, folder: Path) -> list[str]:
    """Take files of dev and test out of `data` whose rows have no answer (a test file of Kaggle), and return
    a note on each."""
    column = next((reading.columns[name] for name in TARGETS if name in reading.columns), None)
    notes: list[str] = []
    for split in [split for split in data.splits if split != "train" and column and "files" in data.source]:
        plain = {"files": data.source["files"], "dev_share": 0.1, "test_share": 0.1, **_kept(data.source)}
        plain = {
            name: value for name, value in plain.items() if name.removesuffix("_share") not in data.splits
        }
        place, rows = raw_rows(Source.model_validate(plain), folder, split)
        some = [row for _, row in itertools.islice(rows, LOOKED_AT) if isinstance(row, dict)]
        if some and all(_has_none(row, str(column), reading.columns.get("better")) for row in some):
            for part in ("files", "lists"):
                data.source.get(part, {}).pop(split, None)
            notes.append(
                f"warning: {place} has no `{column}`, so it cannot be used as {split}: {split} is split from "
                f"train instead. To answer its rows after the training: make predict RUN={folder.name}/"
                f"latest DATA={place} OUT=answers.csv"
            )
    return notes


def _has_none(row: Row, column: str, better: str | None) -> bool:
    with contextlib.suppress(RowFault):
        return is_empty(picked(decided(row, better), [column]).get(column))
    return False


def _kept(source: dict[str, Any]) -> dict[str, Any]:
    return {name: source[name] for name in ("table", "lists", "split_column") if name in source}
