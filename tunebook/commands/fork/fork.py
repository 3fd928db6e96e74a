"""`tunebook fork`: a recipe for a person's own rows, from a recipe here or a plain Axolotl config."""

from __future__ import annotations

import os
import random
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tunebook.check.run import run_check
from tunebook.commands.fork import dataset_text, recipe_text
from tunebook.commands.fork.files import Found, find
from tunebook.commands.fork.lengths import measure
from tunebook.commands.fork.recognise import Reading, group_column, recognise
from tunebook.config.keys import check_keys
from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe, load_recipe, method
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem, raise_all
from tunebook.core.paths import recipes_folder, show
from tunebook.core.yaml_file import parse_yaml, read_yaml
from tunebook.data.dataset import Dataset, datasets_folder, load_dataset_config
from tunebook.data.formats.fields import without_fields
from tunebook.data.near_duplicates import Near, repeated
from tunebook.data.render import MAX_SHOWN, render_all
from tunebook.data.sources import Source, raw_rows
from tunebook.models.registry import known_model

SAMPLE = 2000  # rows that decide what the columns are
TASKS = ("classification", "qa", "chat", "preference")
NO_PAIRS = "a config from elsewhere that tunes by preference cannot be forked. Fork chat-dpo instead."
SHELF = {"classification": "classify", "qa": "qa", "chat": "chat"}


@dataclass(frozen=True)
class Asked:
    """What the command line says about a fork; "" is "not said"."""

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


def run_fork(asked: Asked, console: Console) -> int:
    """Make recipes/NAME and datasets/NAME, then check them. Returns the exit code of the check.

    Raises:
        InputError: nothing is made; it says what to change or which option decides.
        MachineError: the data are on the Hub, which cannot be reached.
    """
    _may_be_called(asked)
    recipe, config, text = _origin(asked.origin)
    model = known_model(asked.model) if asked.model else None
    if not (model or config.get("base_model")):
        text = f"{asked.origin} names no base_model. Add MODEL=."
        raise InputError(Problem(text, key="FROM", code="fork.no_base_model"))
    task = asked.task or (load_dataset_config(recipe.dataset).task if recipe else None)
    if task not in (None, *TASKS):
        text = f"expected one of {', '.join(TASKS)} (got {asked.task!r})."
        raise InputError(Problem(text, key="TASK", code="option.bad_task"))
    folder = datasets_folder() / asked.name
    with console.timed(None, "data") as words:
        found = find(asked.data, folder)
        if asked.near != "bounded":
            found.source["near"] = asked.near
        rows, faults = _sample(found, folder)
        rows = _without(asked.drop, rows, found)
        try:
            reading = _recognised(rows, found.place, task, _fields(asked.fields))
        except InputError:
            raise_all(faults)  # what cannot be read comes first
            raise
        group, group_why = _group(asked, rows, reading, found.place)
        words.append(f"{found.place}: {reading.task}")
    why = [*found.said, *reading.why, f"group: {group_why}"]
    source = dataset_text.provisional(found, reading)
    with console.timed(None, "rows") as words:
        counted = dataset_text.survey(source, folder, found, reading)
        source |= dataset_text.shares(counted.rows["train"], found)
        if counted.repeated_ids and reading.shape != "squad":
            _name_by_line(asked, source, counted.repeated_ids, found.place)
            why.append("`id` repeats: rows are named by their line")
        if asked.time:
            source["by_time"] = asked.time
            why.append(f"the newest rows by `{asked.time}` are cut off for dev and test")
        why += _said(counted, reading)
        written = dataset_text.text(asked.name, source, reading, group, counted)
        dataset = Dataset.model_validate({**parse_yaml(written, "dataset.yaml")[0], "folder": folder})
        notes: list[str] = []
        split_rows = render_all(dataset, notes)
        why += notes
        counts: dict[str, int] = {split: len(some) for split, some in split_rows.items()}
        words.append(", ".join(f"{count} {split}" for split, count in counts.items()))
    if "test" in found.splits and (same := repeated(split_rows["test"], split_rows["train"])):
        why.append(
            f"{same} test rows ask what a train row asks, but for case and punctuation; the files' own split "
            "is kept"
        )
    every = [row for some in split_rows.values() for row in some]
    made = recipe_text.Made(
        asked.name,
        asked.origin,
        reading.task,
        len(dataset.labels),
        counted.weighted > 0,
        counted.with_tools > 0,
        counts,
        measure(every, (recipe_text.LONGEST_TRIAL, recipe_text.LONGEST_REAL)),
        found.place,
        recipe is None,
    )
    with console.timed(None, "fork") as words:
        said = _write(recipe, config, text, made, model, written, why)
        words.append(f"{show(recipes_folder() / asked.name)} and {show(folder)}")
    for line in [*why, *said]:
        console.note(line)

    code = run_check(asked.name, Options(), console)
    if code == GOOD:
        console.stage("next", f"make recipe NAME={asked.name}")
    return code


def _without(drop: str, rows: list[dict[str, Any]], found: Found) -> list[dict[str, Any]]:
    """Return `rows` without the fields of `--drop`, which dataset.yaml then names.

    Raises:
        InputError: no row or turn has such a field.
    """
    names = drop.replace(",", " ").split()
    there = set(_field_names(rows))
    for name in names:
        if name not in there:
            names_there = ", ".join(sorted(there))
            text = f"no row or turn of {found.place} has a field {name!r}. There are: {names_there}."
            raise InputError(Problem(text, key="--drop (DROP=)", code="option.unknown_field"))
    if names:
        found.source["drop"] = names
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


def _recognised(rows: list[dict[str, Any]], place: str, task: str | None, fields: dict[str, str]) -> Reading:
    """Recognise the rows; pairs of answers are conversations unless the task is to prefer one of them."""
    if task != "preference":
        return recognise(rows, place, task, fields)
    reading = recognise(rows, place, "chat", fields)
    if reading.shape != "preference":
        text = f"{place} holds no pairs of answers, and the recipe tunes by preference: it needs columns "
        text += 'for the better and the worse one (FIELDS="chosen=... rejected=...").'
        raise InputError(Problem(text, key="DATA", code="fork.no_pairs"))
    return replace(reading, task=task)


def _may_be_called(asked: Asked) -> None:
    for option, value in (("FROM", asked.origin), ("NAME", asked.name), ("DATA", asked.data)):
        if not value:
            text = f"{option} is missing: make fork FROM=chat-lora NAME=my-task DATA=rows.jsonl"
            raise InputError(text, code="option.missing")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", asked.name):
        text = f"small letters, digits and single hyphens only (got {asked.name!r})."
        raise InputError(Problem(text, key="NAME", code="option.bad_name"))
    for folder in (recipes_folder() / asked.name, datasets_folder() / asked.name):
        if folder.exists():
            text = f"{show(folder)} is already there. Take another name, or remove it."
            raise InputError(Problem(text, key="NAME", code="fork.name_taken"))


def _origin(origin: str) -> tuple[Recipe | None, dict[str, Any], str]:
    """Return the recipe that FROM names (None for a foreign config), its config and its text."""
    if not origin.endswith((".yaml", ".yml")):
        try:
            recipe = load_recipe(origin)
        except InputError as error:
            raise InputError(str(error).replace("NAME:", "FROM:", 1), code=error.code) from None
        return recipe, recipe.config, (recipe.folder / "recipe.yaml").read_text(encoding="utf-8")
    path = Path(origin).expanduser()
    config, lines = read_yaml(path)
    raise_all(check_keys(config, lines, show(path)))
    if config.get("rl"):
        at = lines.get(("rl",))
        raise InputError(Problem(NO_PAIRS, show(path), at, "rl", "fork.preference_config"))
    return None, config, path.read_text(encoding="utf-8")


def _sample(found: Found, folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return rows drawn from all of train (a file sorted by label shows few labels at its top), and the
    first that cannot be read."""
    shares = {f"{split}_share": 0.1 for split in ("dev", "test") if split not in found.splits}
    _, rows = raw_rows(Source.model_validate({**found.source, **shares}), folder, "train")
    drawn = random.Random(0)
    good: list[dict[str, Any]] = []
    faults: list[Problem] = []
    for index, (_, row) in enumerate(rows):
        if isinstance(row, Problem):
            faults += [row] * (len(faults) < MAX_SHOWN)
        elif isinstance(row, dict):
            if len(good) < SAMPLE:
                good.append(row)
            elif (at := drawn.randrange(index)) < SAMPLE:
                good[at] = row
    if not good:
        raise_all(faults)
        text = f"{found.place}: has no rows with names of fields."
        raise InputError(Problem(text, key="DATA", code="data.no_rows"))
    return good, faults


def _fields(text: str) -> dict[str, str]:
    """Read FIELDS="text=body label=topic"."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(Problem(f"{error} in {text!r}.", key="FIELDS", code="option.bad_fields")) from None
    pairs = [(name, column) for name, _, column in (word.partition("=") for word in words)]
    for name, column in pairs:
        if not name or not column:
            message = f'expected name=column, as in "text=body label=topic" (got {text!r}).'
            raise InputError(Problem(message, key="FIELDS", code="option.bad_fields"))
    return dict(pairs)


def _group(asked: Asked, rows: list[dict[str, Any]], reading: Reading, place: str) -> tuple[str | None, str]:
    if not asked.group:
        return group_column(rows, reading, place)
    if asked.group == "none":
        return None, "GROUP=none: every row stands alone"
    there = list(dict.fromkeys(name for row in rows for name in row))
    if asked.group not in there and reading.shape != "squad":
        text = f"{place} has no column {asked.group!r}. It has: {', '.join(there)}."
        raise InputError(Problem(text, key="GROUP", code="option.unknown_column"))
    field = next((name for name, column in reading.columns.items() if column == asked.group), asked.group)
    return field, f"GROUP={asked.group}"


def _name_by_line(asked: Asked, source: dict[str, Any], repeated_ids: int, place: str) -> None:
    """Let a reader leave out an `id` that names no row, once the person has said what it means.

    Raises:
        InputError: nothing was said of it.
    """
    if not asked.group:
        text = f"`id` of {place} stands in {repeated_ids} rows a second time. Choose: GROUP=id where "
        text += "rows of one id belong together, another column, or GROUP=none where every row stands alone."
        raise InputError(Problem(text, key="GROUP", code="fork.repeated_id"))
    if asked.group != "id":
        source["columns"] = {**source.get("columns", {}), "ignored": "id"}


def _said(counted: dataset_text.Survey, reading: Reading) -> list[str]:
    said = []
    if counted.labels:
        rare = sorted(counted.labels.items(), key=lambda item: item[1])[0]
        said.append(f"{len(counted.labels)} labels; the rarest is {rare[0]!r} ({rare[1]} rows)")
    if counted.unanswered:
        said.append(f"{counted.unanswered} questions have no answer; they learn {dataset_text.NO_ANSWER!r}")
    if counted.weighted:
        said.append(f"{counted.weighted} rows have turns of weight 0: read, and not learned")
    if counted.with_tools:
        said.append(f"{counted.with_tools} rows offer tools: the calls are learned, what tools answer is not")
    if reading.shape == "preference" and reading.task != "preference":
        said.append("only the chosen answers are learned; FROM=chat-dpo learns which of two is better")
    return said


def _write(
    recipe: Recipe | None,
    config: dict[str, Any],
    text: str,
    made: recipe_text.Made,
    model: str | None,
    dataset: str,
    why: list[str],
) -> list[str]:
    """Write both folders, each under another name first; return what had to change."""
    new_text, said = recipe_text.recipe_text(text, config, made, model)
    pairs = made.task == "preference"
    likest = "chat-dpo" if pairs else f"{SHELF[made.task]}-{_shelf_method(config)}"
    shelf = recipe or load_recipe(likest)
    if not shelf.rows or not shelf.trial:
        shelf = load_recipe(likest)
    trial, more = recipe_text.trial_text(shelf.trial, shelf.rows, config, made)
    said += more
    trial_rows = yaml.safe_load(trial)["rows"]
    files = {
        datasets_folder(): {
            "dataset.yaml": dataset,
            "README.md": dataset_text.card(made.name, made.data, why, made.counts),
        },
        recipes_folder(): {
            "recipe.yaml": new_text,
            "trial.yaml": trial,
            "README.md": recipe_text.card(recipe, made, said, trial_rows),
        },
    }
    if recipe and (recipe.folder / "eval.yaml").is_file():
        files[recipes_folder()]["eval.yaml"] = (recipe.folder / "eval.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=datasets_folder(), prefix=".fork-") as one:
        with tempfile.TemporaryDirectory(dir=recipes_folder(), prefix=".fork-") as two:
            for scratch, contents in zip((one, two), files.values(), strict=True):
                folder = Path(scratch) / made.name
                folder.mkdir()
                for name, content in contents.items():
                    (folder / name).write_text(content, encoding="utf-8")
            for scratch, home in zip((one, two), files, strict=True):
                os.rename(Path(scratch) / made.name, home / made.name)
    return said


def _shelf_method(config: dict[str, Any]) -> str:
    found = method(config)
    return found if found in ("lora", "qlora", "full") else "lora"
