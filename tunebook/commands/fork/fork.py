"""`tunebook fork`: make a recipe for new data from a Tunebook recipe or a plain Axolotl config.

In: the recipe, the name of the new one and the data. Out: recipes/NAME and datasets/NAME, checked.
"""

from __future__ import annotations

import random
import re
import shlex
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from tunebook.check.findings import Findings
from tunebook.check.run import run_check
from tunebook.commands.fork import long_rows
from tunebook.commands.fork.columns import NAMES
from tunebook.commands.fork.drops import NOT_READ, with_all_drops, without
from tunebook.commands.fork.files import DataFiles, copies, find, folder_of, without_answers
from tunebook.commands.fork.origin import load_origin
from tunebook.commands.fork.output import dataset_text, earlier, recipe_text, screen
from tunebook.commands.fork.output.screen import Told, with_own_files
from tunebook.commands.fork.output.write import LEFT_OUT, write_folders
from tunebook.commands.fork.recognise import Reading, group_column, other_splits, recognise
from tunebook.commands.fork.source_options import repair_key, repair_notes, rows_keys
from tunebook.commands.fork.tables import labels
from tunebook.commands.fork.tables.facts import encoding_notes, hidden_notes, numbered_fields
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem
from tunebook.core.files import write_text
from tunebook.core.paths import recipes_folder, show
from tunebook.core.yaml_file import parse_yaml
from tunebook.data import cache
from tunebook.data.dataset import Dataset, datasets_folder, load_dataset_config
from tunebook.data.field_use.find import uses
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.formats.bad_rows import bad_rows
from tunebook.data.lengths import TokenCounter
from tunebook.data.near_duplicates import Near, repeated
from tunebook.data.render import render_whole
from tunebook.data.sources import Source, raw_rows, source_file
from tunebook.models.registry import known_model

SAMPLE = 2000  # rows that decide what the columns are
TRIAL_ROWS = {"train": 300, "dev": 60, "test": 150}  # of the trial tier, where the recipe has none
TASKS = ("classification", "qa", "chat", "preference")


@dataclass(frozen=True)
class ForkOptions:
    """The arguments and options of `tunebook fork`; "" for options that were not given."""

    origin: str
    name: str
    data: str
    model: str | None = None
    task: str = ""
    fields: str = ""
    group: str = ""
    time: str = ""
    drop: str = ""
    near: Near = "bounded"
    where: str = ""
    roles: str = ""
    repair: str = ""
    drop_bad: int = 0
    table: TableOptions = AS_IT_IS
    labels: str = ""
    window: str = ""
    length: str = ""
    allow: str = ""

    @property
    def command(self) -> str:
        """The fork as it is typed, without options about lengths."""
        given = {"FROM": self.origin, "NAME": self.name, "DATA": self.data, "MODEL": self.model or ""}
        given |= {"TASK": self.task, "FIELDS": self.fields, "GROUP": self.group, "TIME": self.time}
        given |= {"DROP": self.drop, "NEAR": self.near if self.near != "bounded" else ""}
        given |= {"WHERE": self.where, "ROLES": self.roles, "REPAIR": self.repair, "LABELS": self.labels}
        given |= {"ALLOW": self.allow}
        return "make fork " + " ".join(f"{key}={shlex.quote(value)}" for key, value in given.items() if value)


def run_fork(options: ForkOptions, console: Console) -> int:
    """Make recipes/NAME and datasets/NAME, then check them. Returns the exit code of the check.

    Raises:
        InputError: the data cannot be forked as given; no files are written.
        MachineError: the data is on the Hub, which cannot be reached.
    """
    _check_arguments(options)
    length = long_rows.check_length(options.length)
    recipe, config, text, from_notes = load_origin(options.origin, options.allow)
    model = known_model(options.model) if options.model else None
    if not (model or config.get("base_model")):
        text = f"{options.origin} has no base_model. Add --model (MODEL=)."
        raise InputError(Problem(text, key="FROM", code="fork.no_base_model"))
    task = options.task or (load_dataset_config(recipe.dataset).task if recipe else None)
    if task not in (None, *TASKS):
        text = f"expected one of {', '.join(TASKS)} (got {options.task!r})."
        raise InputError(Problem(text, key="--task (TASK=)", code="option.bad_task"))
    named = _fields(options.fields)
    folder = datasets_folder() / options.name
    steps = Console(quiet=True)  # what was done is told at the end, on one screen
    with console.rich.status("reading the rows"), steps.timed(None, "data") as words:
        data = find(options.data, folder, options.table)
        data.source |= rows_keys(options.where, options.roles, options.near)
        rows, faults = _sample(data, folder)
        rows = without(options.drop, rows, data)
        try:
            named = numbered_fields(named, options.table)
            reading = _recognised(rows, data.place, task, named, options.table)
        except InputError:
            if faults:
                raise bad_rows(
                    faults, options.name, len(rows)
                ) from None  # unreadable rows are reported first
            raise
        group, group_why = _group(options, rows, reading, data.place)
        words.append(f"{data.place}: {reading.task}")
    why = [*from_notes, *data.notes, *reading.why, f"group: {group_why}", *encoding_notes(rows, data.place)]
    for split in data.splits if "files" in data.source else ():
        path = source_file(Source.model_validate(dataset_text.provisional(data, reading)), folder, split)
        why += hidden_notes(path, options.table) if path else []
    why += without_answers(data, reading, folder)
    column = reading.columns.get("label", reading.columns.get("completion", "label"))
    source = dataset_text.provisional(data, reading) | repair_key(options.repair, reading)
    if window := long_rows.check_window(options.window, reading.layout):
        source["window"] = window
    with steps.timed(None, "rows") as words:
        counted = dataset_text.survey(source, folder, data, reading, group)
        unread = any(problem.code == NOT_READ for problem in counted.faults)  # told with all of DROP= below
        if not counted.rows["train"] and not unread:
            raise bad_rows(counted.faults, options.name, 0)
        source |= dataset_text.shares(counted, data)
        if source.get("test_share", 0) > dataset_text.SHARE["test"]:
            why.append(f"test has more rows than usual, since {len(counted.groups)} groups are few")
        if reading.task == "classification":
            names, more = labels.label_names(options.labels, counted.found, column, folder_of(options.data))
            if names:
                if reading.layout != "labels":
                    text = "names are for tables with a text and a label (got conversations)."
                    raise InputError(Problem(text, key="--labels (LABELS=)", code="option.bad_labels"))
                source["label_names"] = names
                counted = dataset_text.survey(source, folder, data, reading, group)
            if not counted.faults:
                labels.check_kinds(counted.found, column, options.labels, data.place)
                labels.refuse_new_labels(counted.found, column, {*data.splits})
            why += [*more, *labels.label_notes(counted.found, options.labels, folder_of(options.data))]
        if counted.repeated_ids and reading.layout != "squad":
            _name_by_line(options, source, counted.repeated_ids, data.place)
            why.append("`id` repeats, so rows are named by their line")
        if options.time:
            source["by_time"] = options.time
            why.append(f"the newest rows by `{options.time}` become dev and test")
        why += [*_notes(counted, reading), *repair_notes(counted.repairs, source.get("repair", []))]
        written = dataset_text.text(options.name, source, reading, group, counted, options.drop_bad)
        dataset = Dataset.model_validate({**parse_yaml(written, "dataset.yaml")[0], "folder": folder})
        there, copied = copies(source)
        written = dataset_text.text(options.name, there, reading, group, counted, options.drop_bad)
        notes: list[str] = []
        bad: list[Problem] = []
        try:
            with console.counting("rows", sum(counted.rows.values())) as step:
                whole = render_whole(dataset, notes, step, bad)
        except InputError as error:
            raise with_all_drops(error, dataset) from None
        split_rows = whole.rows
        if reading.task == "classification":
            labels.check_kinds(counted.found, column, options.labels, data.place)
            labels.check_counts(counted.found, column, source.get("test_share"), data.place)
        why += notes
        fields = uses(dataset, data.splits)
        counts: dict[str, int] = {split: len(some) for split, some in split_rows.items()}
        words.append(", ".join(f"{count} {split}" for split, count in counts.items()))
    if "test" in data.splits and (same := repeated(split_rows["test"], split_rows["train"])):
        why.append(
            f"{same} test examples duplicate training examples (ignoring case and punctuation); the original "
            "split of the files is kept"
        )
    if window:
        why += long_rows.window_notes(split_rows, window)
    trial_rows = (recipe.rows if recipe else None) or TRIAL_ROWS
    with_base = {**config, **({"base_model": model} if model else {})}
    counter = TokenCounter()
    lengths, fits, left_out = long_rows.counted(split_rows, length, counter)
    found = long_rows.look(split_rows, lengths.longest, bool(dataset.answers and not window), counter)
    ways = long_rows.decide(found, length, fits, with_base, trial_rows, options.command)
    made = recipe_text.Made(
        options.name,
        options.origin,
        reading.task,
        len(dataset.labels),
        counted.weighted > 0,
        counted.with_tools > 0,
        counts,
        lengths,
        data.place,
        recipe is None,
        fits,
        length,
        left_out,
    )
    if bad:
        why.append(f"left out: {len(bad)} bad rows; {LEFT_OUT} names each")
    command = as_recorded(options)
    changed = write_folders(recipe, config, text, made, model, written, why, copied, bad, command)
    cache.keep(load_dataset_config(options.name), whole)
    with console.rich.status("checking rows, tokens and config (Axolotl's import takes a while)"):
        checked = Findings()
        checked.facts["fields"] = [asdict(use) for use in fields]
        code = run_check(options.name, Options(), steps, False, checked)
    decided = group or options.group or options.time or "test" in data.splits
    told = Told(
        read=f"{data.place}: {reading.task}, {screen.as_read(reading.layout, reading.columns)}",
        made=f"{show(recipes_folder() / options.name)}, {show(folder)}",
        counts=counts,
        own=frozenset(data.splits),
        grouped=f"by {group}" if group else "not grouped",
        groups=len({row["group"] for some in split_rows.values() for row in some}),
        labels=counted.labels,
        fields=fields,
        decide=[
            *ways,
            *screen.decisions(fields, notes, options.name, [] if decided else other_splits(rows, reading)),
        ],
        details=[*why, *changed],
        report=show(folder / earlier.REPORT),
        left_out=len(bad),
        found=with_own_files(checked, folder, copied),
    )
    write_text(folder / earlier.REPORT, screen.report(told))
    for line in screen.lines(told, f"make recipe NAME={options.name}", code == GOOD):
        console.rich.print(line, markup=False)
    return code


def as_recorded(options: ForkOptions) -> dict[str, Any]:
    """Return the options as JSON can hold them."""
    values = {name.name: getattr(options, name.name) for name in fields_of(options)}
    return values | {"table": options.table.model_dump(mode="json")}


def _recognised(
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


def _check_arguments(options: ForkOptions) -> None:
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


def _sample(data: DataFiles, folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return rows sampled from all of train (which may be sorted by label), and the first unreadable ones."""
    shares = {f"{split}_share": 0.1 for split in ("dev", "test") if split not in data.splits}
    _, rows = raw_rows(Source.model_validate({**data.source, **shares}), folder, "train")
    drawn = random.Random(0)
    good: list[dict[str, Any]] = []
    faults: list[Problem] = []
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
        text = f"{data.place}: has no rows with named fields."
        raise InputError(Problem(text, key="DATA", code="data.no_rows"))
    return good, faults


def _fields(text: str) -> dict[str, str]:
    """Read FIELDS="text=body label=topic"."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(
            Problem(f"{error} in {text!r}.", key="--fields (FIELDS=)", code="option.bad_fields")
        ) from None
    pairs = [(name, column) for name, _, column in (word.partition("=") for word in words)]
    for name, column in pairs:
        if name and name not in NAMES:
            message = f"unknown field {name!r}. Known: {', '.join(NAMES)}."
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.unknown_field"))
        if not name or not column:
            message = f'expected name=column, as in "text=body label=topic" (got {text!r}).'
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.bad_fields"))
    return dict(pairs)


def _group(
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


def _name_by_line(options: ForkOptions, source: dict[str, Any], repeated_ids: int, place: str) -> None:
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


def _notes(counted: dataset_text.Survey, reading: Reading) -> list[str]:
    notes = []
    if counted.labels:
        rare = sorted(counted.labels.items(), key=lambda item: item[1])[0]
        notes.append(f"{len(counted.labels)} labels; the rarest is {rare[0]!r} ({rare[1]} rows)")
    if reading.task == "qa":
        notes.append(f"{counted.answers.in_words()}; `baseline_prompt` goes by that")
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
