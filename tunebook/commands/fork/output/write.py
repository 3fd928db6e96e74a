"""Write the two folders of a fork: recipes/NAME and datasets/NAME, each atomically."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunebook.commands.fork.output import dataset_text, earlier, recipe_text
from tunebook.commands.fork.output.trial_text import trial_text
from tunebook.config.recipe import Recipe, load_recipe, method
from tunebook.core.errors import Problem
from tunebook.core.paths import recipes_folder
from tunebook.data.dataset import datasets_folder
from tunebook.data.formats.bad_rows import as_row

LEFT_OUT = "left-out.jsonl"  # in the dataset's folder: bad rows that DROP_BAD= accepts
RECIPE_OF = {"classification": "classify", "qa": "qa", "chat": "chat"}


def write_folders(
    recipe: Recipe | None,
    config: dict[str, Any],
    text: str,
    made: recipe_text.Made,
    model: str | None,
    dataset: str,
    why: list[str],
    copied: dict[str, Path],
    left_out: list[Problem],
    command: Mapping[str, Any],
) -> list[str]:
    """Write both folders atomically, with the files `copied` into the dataset's folder; return what had to
    change in the recipe.

    A kill leaves temporary files and at most one complete folder, which the same command removes
    (earlier.py).
    """
    new_text, changed = recipe_text.recipe_text(text, config, made, model)
    pairs = made.task == "preference"
    closest = "chat-dpo" if pairs else f"{RECIPE_OF[made.task]}-{_closest_method(config)}"
    base = recipe or load_recipe(closest)
    if not base.rows or not base.trial:
        base = load_recipe(closest)
    # Of the recipe as it is written: MODEL= brings keys that the trial tier's base has no use for.
    trial, more = trial_text(base.trial, base.rows, yaml.safe_load(new_text), made)
    changed += more
    trial_rows = yaml.safe_load(trial)["rows"]
    files = {
        datasets_folder(): {
            "dataset.yaml": dataset,
            "README.md": dataset_text.card(made.name, made.data, why, made.counts),
        },
        recipes_folder(): {
            "recipe.yaml": new_text,
            "trial.yaml": trial,
            "README.md": recipe_text.card(recipe, made, changed, trial_rows),
        },
    }
    if recipe and (recipe.folder / "eval.yaml").is_file():
        files[recipes_folder()]["eval.yaml"] = (recipe.folder / "eval.yaml").read_text(encoding="utf-8")
    if left_out:
        lines = (json.dumps(as_row(problem), ensure_ascii=False) for problem in left_out)
        files[datasets_folder()][LEFT_OUT] = "".join(f"{line}\n" for line in lines)
    scraps = []
    try:
        for home, contents in files.items():
            earlier.clear(home)
            scraps.append(earlier.scrap(home))
            for name, content in contents.items():
                (scraps[-1] / name).write_text(content, encoding="utf-8")
        for name, file in copied.items():
            target = scraps[0] / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
        for scrap in scraps:
            earlier.record(scrap, command)
        for scrap, home in zip(scraps, files, strict=True):
            if (home / made.name).exists():  # unchanged since the same command wrote it
                shutil.rmtree(home / made.name)
            os.rename(scrap, home / made.name)
    finally:
        for scrap in scraps:
            shutil.rmtree(scrap, ignore_errors=True)
    return changed


def _closest_method(config: dict[str, Any]) -> str:
    name = method(config)
    return name if name in ("lora", "qlora", "full") else "lora"
