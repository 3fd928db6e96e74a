"""`tunebook fork`: create a recipe for new data from a Tunebook recipe or a plain Axolotl config.

In: the recipe, the new name and the data. Out: recipes/NAME and datasets/NAME, checked.
"""

from __future__ import annotations

from dataclasses import asdict

from tunebook.check.findings import Findings
from tunebook.check.run import run_check
from tunebook.commands.fork import long_rows
from tunebook.commands.fork.drops import with_all_drops, without
from tunebook.commands.fork.files import copies, find, folder_of
from tunebook.commands.fork.options import ForkOptions, as_recorded, read_drop, read_fields
from tunebook.commands.fork.origin import load_origin
from tunebook.commands.fork.output import dataset_text, earlier, recipe_text, screen, thinking
from tunebook.commands.fork.output.screen import (
    Told,
    answers_that_are_none,
    begins_with_prompt,
    with_own_files,
)
from tunebook.commands.fork.output.write import LEFT_OUT, write_folders
from tunebook.commands.fork.recognise import Reading
from tunebook.commands.fork.refusals import (
    check_arguments,
    check_columns,
    refuse_idle,
    refuse_idle_table,
    with_options_named,
)
from tunebook.commands.fork.sample import (
    as_read,
    by_column,
    group_of,
    name_by_line,
    other_splits,
    recognised,
    sample,
    without_answers,
)
from tunebook.commands.fork.source_options import repair_key, repair_notes, rows_keys
from tunebook.commands.fork.tables import labels
from tunebook.commands.fork.tables.document import beside_uses, refuse_beside
from tunebook.commands.fork.tables.facts import (
    encoding_notes,
    hidden_notes,
    indent_notes,
    numbered_fields,
)
from tunebook.commands.fork.tables.label_names import label_names
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem
from tunebook.core.files import write_text
from tunebook.core.paths import recipes_folder, show
from tunebook.core.yaml_file import parse_yaml
from tunebook.data import cache
from tunebook.data.dataset import Dataset, datasets_folder, load_dataset_config
from tunebook.data.field_use.find import uses
from tunebook.data.formats.bad_rows import bad_count, bad_rows
from tunebook.data.formats.turn_forms import ALTERNATING
from tunebook.data.lengths import TokenCounter
from tunebook.data.near_duplicates import repeated
from tunebook.data.render import render_whole
from tunebook.data.sources import Source, source_file
from tunebook.data.thinking import setting
from tunebook.models.registry import known_model

TRIAL_ROWS = {"train": 300, "dev": 60, "test": 150}  # of the trial tier, if the recipe has none


def run_fork(options: ForkOptions, console: Console) -> int:
    """Create recipes/NAME and datasets/NAME, then check them. Return the exit code of the check.

    Raises:
        InputError: the data cannot be forked as given; no files are written.
        MachineError: the data is on the Hub, which cannot be reached.
    """
    check_arguments(options)
    length = long_rows.check_length(options.length)
    named = read_fields(options.fields)
    recipe, config, text, from_notes = load_origin(options.origin, options.allow)
    model = known_model(options.model) if options.model else None
    if not (model or config.get("base_model")):
        text = f"{options.origin} has no base_model. Add --model (MODEL=)."
        raise InputError(Problem(text, key="FROM", code="fork.no_base_model"))
    task = options.task or (load_dataset_config(recipe.dataset).task if recipe else None)
    folder = datasets_folder() / options.name
    steps = Console(quiet=True)  # what was done is told at the end, on one screen
    named_options = with_options_named(options)
    with named_options, console.rich.status("reading the rows"), steps.timed(None, "data") as words:
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
            if faults:
                raise bad_rows(
                    faults, options.name, len(rows)
                ) from None  # unreadable rows are reported first
            raise
        thinking.check_reading(options.thinking, reading)
        group, group_why = group_of(options, rows, reading, data.place)
        words.append(f"{data.place}: {reading.task}")
    why = [*from_notes, *data.notes, *reading.why, f"group: {group_why}", *encoding_notes(rows, data.place)]
    why += indent_notes(rows, reading.columns.values())
    for split in data.splits if "files" in data.source else ():
        path = source_file(Source.model_validate(dataset_text.provisional(data, reading)), folder, split)
        why += hidden_notes(path, options.table) if path else []
    why += without_answers(data, reading, folder)
    refuse_idle(options, data, reading, rows)
    column = reading.columns.get("label", reading.columns.get("completion", "label"))
    said = reading.columns.get("text", reading.columns.get("prompt", "..."))
    source = dataset_text.provisional(data, reading) | repair_key(options.repair, reading)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    check_columns(group, options.time, Source.model_validate(source), folder, columns)
    if window := long_rows.check_window(options.window, reading.layout):
        source["window"] = window
    with with_options_named(options), steps.timed(None, "rows") as words:
        counted = dataset_text.survey(source, folder, data, reading, group)
        if not counted.rows["train"]:
            error = bad_rows(counted.faults, options.name, 0)
            raise with_all_drops(error, Source.model_validate(source), folder)
        source |= dataset_text.shares(counted, data)
        if source.get("test_share", 0) > dataset_text.SHARE["test"]:
            groups = len(counted.groups)
            why.append(f"warning: test has more rows than usual, because there are only {groups} groups")
        if reading.task == "classification":
            names, more = label_names(options.labels, counted.found, column, folder_of(options.data))
            if names:
                if reading.layout != "labels":
                    text = "label names only apply to tables with a text and a label (got conversations)."
                    raise InputError(Problem(text, key="--labels (LABELS=)", code="option.bad_labels"))
                source["label_names"] = names
                counted = dataset_text.survey(source, folder, data, reading, group)
            if not counted.faults:
                labels.check_kinds(counted.found, column, options.labels, data.place, said)
                labels.refuse_new_labels(counted.found, column, {*data.splits})
            why += [*more, *labels.label_notes(counted.found, options.labels, folder_of(options.data))]
        if counted.repeated_ids and reading.layout != "squad":
            name_by_line(options, source, counted.repeated_ids, data.place)
            why.append("`id` repeats, so rows get their line number as id")
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
            raise with_all_drops(error, dataset.source, folder) from None
        split_rows = whole.rows
        if reading.task == "classification":
            labels.check_kinds(counted.found, column, options.labels, data.place, said)
            labels.check_counts(counted.found, column, source.get("test_share"), data.place)
        why += notes
        fields = [*uses(dataset, data.splits), *beside_uses(data.beside, read_drop(options.drop))]
        counts: dict[str, int] = {split: len(some) for split, some in split_rows.items()}
        words.append(", ".join(f"{count} {split}" for split, count in counts.items()))
    thinking.refuse_undecided(options.thinking, split_rows, data.place)
    why += thinking.notes(options.thinking, split_rows)
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
        counted.weighted > 0 or thinking.has_weights(split_rows["train"]),
        counted.with_tools > 0,
        counts,
        lengths,
        data.place,
        recipe is None,
        fits,
        length,
        left_out,
        setting.read(options.thinking or None),
    )
    if options.drop_bad and not bad:
        why.append(f"DROP_BAD={options.drop_bad} leaves nothing out: no row is bad")
    if bad:
        why.append(f"{bad_count(len(bad))} dropped; {LEFT_OUT} lists them")
    command = as_recorded(options)
    changed = write_folders(recipe, config, text, made, model, written, why, copied, bad, command)
    cache.keep(load_dataset_config(options.name), whole)
    with console.rich.status("checking rows, tokens and config (Axolotl's import takes a while)"):
        checked = Findings()
        checked.facts["fields"] = [asdict(use) for use in fields]
        code = run_check(options.name, Options(), steps, False, checked)
    decided = group or options.group or options.time or "test" in data.splits
    assumed = [f"{why}. Is this correct?" for why in reading.why if why == ALTERNATING]
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
            *begins_with_prompt(split_rows),
            *answers_that_are_none(split_rows, reading.task),
            *assumed,
            *screen.warnings(why),
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
