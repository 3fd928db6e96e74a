"""Write the two folders of a fork: recipes/NAME and datasets/NAME, each in one move."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tunebook.commands.fork import dataset_text, recipe_text
from tunebook.config.recipe import Recipe, load_recipe, method
from tunebook.core.paths import recipes_folder
from tunebook.data.dataset import datasets_folder

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
) -> list[str]:
    """Write both folders in one move each, with the files `copied` into the dataset's; return what had to
    change in the recipe."""
    new_text, changed = recipe_text.recipe_text(text, config, made, model)
    pairs = made.task == "preference"
    closest = "chat-dpo" if pairs else f"{RECIPE_OF[made.task]}-{_closest_method(config)}"
    base = recipe or load_recipe(closest)
    if not base.rows or not base.trial:
        base = load_recipe(closest)
    trial, more = recipe_text.trial_text(base.trial, base.rows, config, made)
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
    with tempfile.TemporaryDirectory(dir=datasets_folder(), prefix=".fork-") as one:
        with tempfile.TemporaryDirectory(dir=recipes_folder(), prefix=".fork-") as two:
            for scratch, contents in zip((one, two), files.values(), strict=True):
                folder = Path(scratch) / made.name
                folder.mkdir()
                for name, content in contents.items():
                    (folder / name).write_text(content, encoding="utf-8")
            for name, file in copied.items():
                target = Path(one) / made.name / name
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)
            for scratch, home in zip((one, two), files, strict=True):
                os.rename(Path(scratch) / made.name, home / made.name)
    return changed


def _closest_method(config: dict[str, Any]) -> str:
    name = method(config)
    return name if name in ("lora", "qlora", "full") else "lora"
