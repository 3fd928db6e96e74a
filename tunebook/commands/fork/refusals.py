"""Options of fork that cannot be: by themselves, beside one another, or for the data at hand.

In: the options, the files, how the rows are read. Out: nothing, or an error that names the option. One that
cannot change anything for this data is an error, too: whoever typed it expects that it does.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tunebook.commands.fork import source_options
from tunebook.commands.fork.columns import Reading
from tunebook.commands.fork.files import PLAIN_TEXT, DataFiles, form_of
from tunebook.commands.fork.long_rows import check_length, window_words
from tunebook.commands.fork.options import ForkOptions, as_recorded, read_drop, read_fields
from tunebook.commands.fork.output import earlier
from tunebook.commands.fork.sample import SAMPLE
from tunebook.commands.fork.tables.label_names import names_file
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.paths import recipes_folder
from tunebook.data.dataset import datasets_folder
from tunebook.data.files.split_names import SPLITS
from tunebook.data.files.table_options import TableOptions
from tunebook.data.files.tables import DELIMITED, JSON, KINDS
from tunebook.data.formats.rows.row import Row
from tunebook.data.formats.turn_forms import rename_roles
from tunebook.data.sources import Source, raw_rows
from tunebook.data.splits import time_of
from tunebook.models.registry import known_model

TASKS = ("classification", "qa", "chat", "preference")
LOOKED_AT = 200  # rows
OTHERS = "other"  # a file of another kind, which DELIMITER= makes a table
TAKE = {  # what each option about files is for, and the kinds of them
    "encoding": ("text files", {*DELIMITED, *JSON, PLAIN_TEXT, OTHERS}),
    "delimiter": ("CSV files", {*DELIMITED, OTHERS}),
    "quotes": ("CSV files", {*DELIMITED, OTHERS}),
    "header": ("tables without names", {*DELIMITED, *JSON, ".xlsx", OTHERS}),
    "sheet": ("Excel files", {".xlsx"}),
}


def check_arguments(options: ForkOptions) -> None:
    """Refuse what cannot be, as far as it shows without a look at FROM or at a row.

    Raises:
        InputError: an argument is missing, has no such value, names a file that is not there, or contradicts
            another one.
    """
    for option, value in (("FROM", options.origin), ("NAME", options.name), ("DATA", options.data)):
        if not value:
            text = "missing. Example: make fork FROM=chat-lora NAME=my-task DATA=rows.jsonl"
            raise InputError(Problem(text, key=option, code="option.missing"))
    if not re.fullmatch(r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*", options.name):
        text = "expected at most 64 lower-case letters, digits and single hyphens "
        text += f"(got {options.name[:80]!r})."
        raise InputError(Problem(text, key="NAME", code="option.bad_name"))
    folders = [recipes_folder() / options.name, datasets_folder() / options.name]
    earlier.check_free(folders, as_recorded(options))
    if options.task and options.task not in TASKS:
        text = f"expected one of {', '.join(TASKS)} (got {options.task!r})."
        raise InputError(Problem(text, key="--task (TASK=)", code="option.bad_task"))
    if options.model:
        known_model(options.model)
    check_length(options.length)
    window_words(options.window)
    source_options.check_words(options.where, options.roles, options.repair)
    names_file(options.labels)
    _check_dropped(options, read_fields(options.fields))
    if (recipes_folder() / options.origin).is_dir() or Path(options.origin).expanduser().is_file():
        form_of(options.data)  # or else FROM is what is said first


def _check_dropped(options: ForkOptions, fields: dict[str, str]) -> None:
    """Refuse a column that another option names and that DROP= leaves out."""
    named = [("--fields (FIELDS=)", part) for column in fields.values() for part in column.split("+")]
    named += [("--group (GROUP=)", options.group), ("--time (TIME=)", options.time)]
    for key, column in named:
        for dropped in read_drop(options.drop):
            if column == dropped or column.startswith(f"{dropped}."):
                text = f"names {column!r}, which --drop (DROP=) leaves out. Remove it from one of them."
                raise InputError(Problem(text, key=key, code="option.contradiction"))


@contextlib.contextmanager
def with_options_named(options: ForkOptions) -> Iterator[None]:
    """Add to an error about the rows how they were read, where an option said it and the error does not."""
    try:
        yield
    except InputError as error:
        given = options.reading
        if not given or any(f"{name}=" in str(error) for name in given):
            raise
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
        text = f"{error}\nThey were read with {words}."
        raise InputError(text, problems=error.problems, code=error.code) from None


def refuse_idle_table(table: TableOptions, data: DataFiles) -> None:
    """Refuse an option about files that no file of `data` is read by.

    Raises:
        InputError: it names the option and the kinds of files.
    """
    kinds = {kind if kind in (*KINDS, PLAIN_TEXT) else OTHERS for kind in data.kinds}
    for name in table.model_dump(exclude_defaults=True):
        what, taken = TAKE[name]
        if not kinds & taken:
            there = ", ".join(sorted(data.kinds)) or "a dataset on the Hub"
            text = f"is for {what}, and has no effect on {data.place} ({there}). Leave it out."
            raise _idle(name, text)


def refuse_idle(options: ForkOptions, data: DataFiles, reading: Reading, rows: list[Row]) -> None:
    """Refuse an option that cannot change anything for rows that are read so, or splits that are there.

    Args:
        rows: the sample that was recognised, before the speakers are renamed.

    Raises:
        InputError: it names the option.
    """
    if {*SPLITS} <= {*data.splits}:
        there = f"and {data.place} has dev and test already. Leave it out."
        if options.time:
            raise _idle("time", f"says which rows become dev and test, {there}")
        if options.near != "bounded":
            raise _idle("near", f"says how dev and test are split from train, {there}")
    if options.labels and reading.task != "classification":
        raise _idle("labels", f"is for labels, and the rows are read as {reading.task}. Leave it out.")
    for name, role in source_options.read_roles(options.roles).items():
        flat = reading.layout in ("labels", "qa", "squad")
        if flat or (len(rows) < SAMPLE and all(rename_roles(row, {name: role}) == row for row in rows)):
            text = f"no turn of {data.place} is by {name!r} in a place where {role} makes a difference. "
            raise _idle("roles", f"{text}Correct the name, or leave it out.")


def check_columns(
    group: str | None, time: str, source: Source, folder: Path, columns: Collection[str]
) -> None:
    """Refuse a group or a time that the rows, as they are read, do not have.

    Args:
        columns: those of the file, for the message.

    Raises:
        InputError: it names the option.
    """
    place, read = raw_rows(source, folder, "train")
    rows = [row for _, row in itertools.islice(read, LOOKED_AT) if isinstance(row, dict)]
    for option, column in (("group", group), ("time", time)):
        if column and rows and not any(_value(row, column) for row in rows):
            text = f"{place} has no column {column!r} other than the learned ones. "
            text += f"It has: {', '.join(columns)}."
            raise InputError(Problem(text, key=_key(option), code="option.unknown_column"))
    if time and rows:
        try:
            time_of(rows[0], time)
        except RowFault as error:
            text = f"{time!r} of {place} is {error}"
            raise InputError(Problem(text, key=_key("time"), code="option.not_a_time")) from None


def _value(row: Row, column: str) -> bool:
    """Whether a row has a field, which may be inside another one."""
    found: Any = row
    for name in [column] if column in row else column.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found is not None


def _key(name: str) -> str:
    return f"--{name} ({name.upper()}=)"


def _idle(name: str, text: str) -> InputError:
    return InputError(Problem(text, key=_key(name), code="option.no_effect"))
