"""`tunebook fork`: create a recipe for new data from a Tunebook recipe or a plain Axolotl config.

In: the recipe, the new name and the data. Out: recipes/NAME and datasets/NAME, checked.
"""

from __future__ import annotations

from dataclasses import asdict

from tunebook.check.findings import Findings
from tunebook.check.run import run_check
from tunebook.commands.fork import long_rows
from tunebook.commands.fork.options import ForkOptions, as_recorded, read_fields
from tunebook.commands.fork.origin import load_origin
from tunebook.commands.fork.output import earlier, recipe_text, screen, thinking
from tunebook.commands.fork.output.screen import (
    Told,
    answers_that_are_none,
    begins_with_prompt,
    with_own_files,
)
from tunebook.commands.fork.output.write import LEFT_OUT, write_folders
from tunebook.commands.fork.read import make_dataset, read
from tunebook.commands.fork.refusals import check_arguments, with_options_named
from tunebook.commands.fork.sample import other_splits
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import write_text
from tunebook.core.paths import recipes_folder, show
from tunebook.data import cache
from tunebook.data.dataset import datasets_folder, load_dataset_config
from tunebook.data.formats.bad_rows import bad_count
from tunebook.data.formats.turn_forms import ALTERNATING
from tunebook.data.lengths import TokenCounter
from tunebook.data.near_duplicates import repeated
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
        problem = f"{options.origin} has no base_model. Add --model (MODEL=)."
        raise InputError(Problem(problem, key="FROM", code="fork.no_base_model"))
    task = options.task or (load_dataset_config(recipe.dataset).task if recipe else None)
    folder = datasets_folder() / options.name
    with with_options_named(options), console.rich.status("reading the rows"):
        found = read(options, named, task, folder)
        window = long_rows.check_window(options.window, found.reading.layout)
    with with_options_named(options):
        made = make_dataset(options, found, folder, window, console)
    data, reading, group, rows = found.data, found.reading, found.group, made.whole.rows
    thinking.refuse_undecided(options.thinking, rows, data.place)
    notes = [*from_notes, *found.notes, *made.notes, *thinking.notes(options.thinking, rows)]
    if "test" in data.splits and (same := repeated(rows["test"], rows["train"])):
        notes.append(
            f"{same} test examples duplicate training examples (ignoring case and punctuation); the original "
            "split of the files is kept"
        )
    if window:
        notes += long_rows.window_notes(rows, window)
    trial_rows = (recipe.rows if recipe else None) or TRIAL_ROWS
    with_base = {**config, **({"base_model": model} if model else {})}
    counter = TokenCounter()
    lengths, fits, left_out = long_rows.counted(rows, length, counter)
    long = long_rows.look(rows, lengths.longest, bool(made.dataset.answers and not window), counter)
    ways = long_rows.decide(long, length, fits, with_base, trial_rows, options.command)
    counts: dict[str, int] = {split: len(some) for split, some in rows.items()}
    facts = recipe_text.Made(
        options.name,
        options.origin,
        reading.task,
        len(made.dataset.labels),
        made.counted.weighted > 0 or thinking.has_weights(rows["train"]),
        made.counted.with_tools > 0,
        counts,
        lengths,
        data.place,
        recipe is None,
        fits,
        length,
        left_out,
        setting.read(options.thinking or None),
    )
    if options.drop_bad and not made.bad:
        notes.append(f"DROP_BAD={options.drop_bad} leaves nothing out: no row is bad")
    if made.bad:
        notes.append(f"{bad_count(len(made.bad))} dropped; {LEFT_OUT} lists them")
    command = as_recorded(options)
    changed = write_folders(
        recipe, config, text, facts, model, made.text, notes, made.copied, made.bad, command
    )
    cache.keep(load_dataset_config(options.name), made.whole)
    with console.rich.status("checking rows, tokens and config (Axolotl's import takes a while)"):
        checked = Findings()
        checked.facts["fields"] = [asdict(use) for use in made.fields]
        code = run_check(options.name, Options(), Console(quiet=True), False, checked)
    decided = group or options.group or options.time or "test" in data.splits
    assumed = [f"{why}. Is this correct?" for why in reading.why if why == ALTERNATING]
    told = Told(
        read=f"{data.place}: {reading.task}, {screen.as_read(reading.layout, reading.columns)}",
        made=f"{show(recipes_folder() / options.name)}, {show(folder)}",
        counts=counts,
        own=frozenset(data.splits),
        grouped=f"by {group}" if group else "not grouped",
        groups=len({row["group"] for some in rows.values() for row in some}),
        labels=made.counted.labels,
        fields=made.fields,
        decide=[
            *ways,
            *begins_with_prompt(rows),
            *answers_that_are_none(rows, reading.task),
            *assumed,
            *screen.warnings(notes),
            *screen.decisions(
                made.fields, made.of_rows, options.name, [] if decided else other_splits(found.rows, reading)
            ),
        ],
        details=[*notes, *changed],
        report=show(folder / earlier.REPORT),
        left_out=len(made.bad),
        found=with_own_files(checked, folder, made.copied),
    )
    write_text(folder / earlier.REPORT, screen.report(told))
    for line in screen.lines(told, f"make recipe NAME={options.name}", code):
        console.rich.print(line, markup=False)
    return code
