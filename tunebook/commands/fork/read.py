"""Read the rows of a fork, take them for something, and render all of them.

In: the options. Out: what the rows were taken for, the dataset.yaml that says so, and every rendered row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.commands.fork.drops import with_all_drops, without
from tunebook.commands.fork.files import DataFiles, copies, find, folder_of
from tunebook.commands.fork.options import ForkOptions, read_drop
from tunebook.commands.fork.output import dataset_text, thinking
from tunebook.commands.fork.recognise import Reading
from tunebook.commands.fork.refusals import check_columns, refuse_idle, refuse_idle_table
from tunebook.commands.fork.sample import (
    as_read,
    by_column,
    group_of,
    name_by_line,
    recognised,
    sample,
    without_answers,
)
from tunebook.commands.fork.source_options import repair_key, repair_notes, rows_keys
from tunebook.commands.fork.tables import labels
from tunebook.commands.fork.tables.document import beside_uses, refuse_beside
from tunebook.commands.fork.tables.facts import encoding_notes, hidden_notes, indent_notes, numbered_fields
from tunebook.commands.fork.tables.label_names import label_names
from tunebook.core.console import Console
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import Row
from tunebook.core.yaml_file import parse_yaml
from tunebook.data.dataset import Dataset
from tunebook.data.field_use.find import Use, uses
from tunebook.data.formats.bad_rows import bad_rows
from tunebook.data.render import Rendered, render_whole
from tunebook.data.sources import Source, source_file


@dataclass(frozen=True)
class Read:
    """The files, some of their rows, what these were taken for, and the column that groups all. `notes` say
    why."""

    data: DataFiles
    rows: list[Row]
    reading: Reading
    group: str | None
    notes: list[str]

    @property
    def place(self) -> str:
        return self.data.place


@dataclass(frozen=True)
class NewDataset:
    """A dataset and all its rows, rendered. `text` is its dataset.yaml, `copied` the files to copy into its
    folder, by their new names, and `bad` the rows left out by DROP_BAD=. `notes` include `of_rows`, those of
    the rendering."""

    dataset: Dataset
    text: str
    copied: dict[str, Path]
    counted: dataset_text.Survey
    whole: Rendered
    bad: list[Problem]
    fields: list[Use]
    of_rows: list[str]
    notes: list[str]


def read(options: ForkOptions, named: dict[str, str], task: str | None, folder: Path) -> Read:
    """Find the files and say what their rows are; `named` are the columns of FIELDS=, `task` is
    the one asked for, `folder` the dataset's.

    Raises:
        InputError: files that cannot be read, rows of no known form, or an option that nothing is read by.
        MachineError: the data is on the Hub, which cannot be reached.
    """
    data = find(options.data, folder, options.table)
    refuse_idle_table(options.table, data)
    data.source |= rows_keys(options.where, options.roles, options.near, options.thinking)
    refuse_beside(data.beside, read_drop(options.drop), data.place)
    rows, faults = sample(data, folder)
    named = numbered_fields(named, options.table)
    rows = as_read(without(options.drop, rows, data), data.place, task, named)
    by_column(data, rows)
    try:
        reading = recognised(rows, data.place, task, named, options.table)
    except InputError:
        if faults:  # unreadable rows are reported first
            raise bad_rows(faults, options.name, len(rows)) from None
        raise
    thinking.check_reading(options.thinking, reading)
    group, group_why = group_of(options, rows, reading, data.place)
    notes = [*data.notes, *reading.why, f"group: {group_why}", *encoding_notes(rows, data.place)]
    notes += indent_notes(rows, reading.columns.values())
    for split in data.splits if "files" in data.source else ():
        path = source_file(Source.model_validate(dataset_text.provisional(data, reading)), folder, split)
        notes += hidden_notes(path, options.table) if path else []
    notes += without_answers(data, reading, folder)
    return Read(data, rows, reading, group, notes)


def make_dataset(
    options: ForkOptions, found: Read, folder: Path, window: int | None, console: Console
) -> NewDataset:
    """Count all rows, write the text of dataset.yaml, and render every row of every split by it.

    Raises:
        InputError: bad rows, an option that does not fit the rows, or labels that cannot be learned.
    """
    data, reading, group = found.data, found.reading, found.group
    refuse_idle(options, data, reading, found.rows)
    source = dataset_text.provisional(data, reading) | repair_key(options.repair, reading)
    columns = list(dict.fromkeys(name for row in found.rows for name in row))
    check_columns(group, options.time, Source.model_validate(source), folder, columns)
    if window:
        source["window"] = window
    counted = dataset_text.survey(source, folder, data, reading, group)
    if not counted.rows["train"]:
        error = bad_rows(counted.faults, options.name, 0)
        raise with_all_drops(error, Source.model_validate(source), folder)
    notes: list[str] = []
    source |= dataset_text.shares(counted, data)
    if source.get("test_share", 0) > dataset_text.SHARE["test"]:
        groups = len(counted.groups)
        notes.append(f"warning: test has more rows than usual, because there are only {groups} groups")
    if reading.task == "classification":
        counted = _with_label_names(options, found, source, folder, counted, notes)
    if counted.repeated_ids and reading.layout != "squad":
        name_by_line(options, source, counted.repeated_ids, data.place)
        notes.append("`id` repeats, so rows get their line number as id")
    if options.time:
        source["by_time"] = options.time
        notes.append(f"the newest rows by `{options.time}` become dev and test")
    notes += [*_notes(counted, reading), *repair_notes(counted.repairs, source.get("repair", []))]
    text = dataset_text.text(options.name, source, reading, group, counted, options.drop_bad)
    dataset = Dataset.model_validate({**parse_yaml(text, "dataset.yaml")[0], "folder": folder})
    of_rows: list[str] = []
    bad: list[Problem] = []
    try:
        with console.counting("rows", sum(counted.rows.values())) as step:
            whole = render_whole(dataset, of_rows, step, bad)
    except InputError as error:
        raise with_all_drops(error, dataset.source, folder) from None
    if reading.task == "classification":
        _check_kinds(options, found, counted)
        labels.check_counts(counted.found, _columns(reading)[0], source.get("test_share"), data.place)
    fields = [*uses(dataset, data.splits), *beside_uses(data.beside, read_drop(options.drop))]
    there, copied = copies(source)  # from here on, the rows are read from the clone
    text = dataset_text.text(options.name, there, reading, group, counted, options.drop_bad)
    return NewDataset(dataset, text, copied, counted, whole, bad, fields, of_rows, [*notes, *of_rows])


def _columns(reading: Reading) -> tuple[str, str]:
    """Return the columns of the label and of the text, as messages name them."""
    columns = reading.columns
    label = columns.get("label", columns.get("completion", "label"))
    return label, columns.get("text", columns.get("prompt", "..."))


def _check_kinds(options: ForkOptions, found: Read, counted: dataset_text.Survey) -> None:
    column, said = _columns(found.reading)
    labels.check_kinds(counted.found, column, options.labels, found.place, said)


def _with_label_names(
    options: ForkOptions,
    found: Read,
    source: dict[str, Any],
    folder: Path,
    counted: dataset_text.Survey,
    notes: list[str],
) -> dataset_text.Survey:
    """Return the counts with the labels by their names, which come into `source`."""
    column, _ = _columns(found.reading)
    names, more = label_names(options.labels, counted.found, column, folder_of(options.data))
    if names:
        if found.reading.layout != "labels":
            text = "label names only apply to tables with a text and a label (got conversations)."
            raise InputError(Problem(text, key="--labels (LABELS=)", code="option.bad_labels"))
        source["label_names"] = names
        counted = dataset_text.survey(source, folder, found.data, found.reading, found.group)
    if not counted.faults:
        _check_kinds(options, found, counted)
        labels.refuse_new_labels(counted.found, column, {*found.data.splits})
    notes += [*more, *labels.label_notes(counted.found, options.labels, folder_of(options.data))]
    return counted


def _notes(counted: dataset_text.Survey, reading: Reading) -> list[str]:
    notes = []
    if counted.labels:
        rare = sorted(counted.labels.items(), key=lambda item: item[1])[0]
        notes.append(f"{len(counted.labels)} labels; the rarest is {rare[0]!r} ({rare[1]} rows)")
    if reading.task == "qa":
        notes.append(f"{counted.answers.in_words()}; `baseline_prompt` is based on this")
    if counted.unanswered:
        notes.append(
            f"{counted.unanswered} questions have no answer; they are trained with {dataset_text.NO_ANSWER!r}"
        )
    if counted.weighted:
        notes.append(f"{counted.weighted} rows have turns with weight 0, which are not trained on")
    if counted.with_tools:
        notes.append(f"{counted.with_tools} rows have tools: calls are trained on, tool results are not")
    if reading.layout == "preference" and reading.task != "preference":
        notes.append("only the chosen answers are trained on; FROM=chat-dpo trains on the preference")
    return notes
