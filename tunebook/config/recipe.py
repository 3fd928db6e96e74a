"""Recipes on disk: find, load, list. `tunebook recipes` prints the list."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import recipes_folder, show
from tunebook.core.yaml_file import Lines, read_yaml
from tunebook.models import methods

TRIAL_ROWS = ("train", "dev", "test")


@dataclass(frozen=True)
class Recipe:
    """A recipe folder: `config` is recipe.yaml, `trial` is trial.yaml without `rows`; its `replay` is read
    by `tunebook.config.replay`."""

    name: str
    folder: Path
    config: AxolotlConfig
    lines: Lines
    trial: AxolotlConfig
    trial_lines: Lines
    rows: dict[str, int]
    eval: dict[str, Any]

    @property
    def file(self) -> str:
        return show(self.folder / "recipe.yaml")

    @property
    def dataset(self) -> str:
        """Name of the dataset from which the first entry of `datasets` reads rendered rows."""
        entries = self.config.get("datasets")
        first = entries[0] if isinstance(entries, list) and entries else None
        path = first.get("path") if isinstance(first, dict) else None
        match = re.fullmatch(r"datasets/([\w.-]+)/rows/train\.jsonl", str(path))
        if not match:
            line = self.lines.get(("datasets", 0, "path"), self.lines.get(("datasets",)))
            raise InputError(
                Problem(
                    f"must be datasets/NAME/rows/train.jsonl, which `make data` writes (got {path!r}).",
                    self.file,
                    line,
                    "datasets[0].path",
                    "recipe.bad_path",
                )
            )
        return match[1]


def names() -> list[str]:
    """Return the names of all recipe folders, sorted."""
    return sorted(path.parent.name for path in recipes_folder().glob("*/recipe.yaml"))


def load_recipe(name: str) -> Recipe:
    """Load recipes/`name`.

    Raises:
        InputError: no such recipe, a name that is not a plain folder name, or broken YAML.
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=2)
        hint = f" Did you mean {' or '.join(close)}?" if close else f" There are: {', '.join(known)}."
        raise InputError(f"NAME: there is no recipe called {name[:60]!r}.{hint}", code="recipe.unknown_name")
    folder = recipes_folder() / name
    config, lines = read_yaml(folder / "recipe.yaml")
    trial, trial_lines = read_yaml(folder / "trial.yaml") if (folder / "trial.yaml").is_file() else ({}, {})
    evaluation = read_yaml(folder / "eval.yaml")[0] if (folder / "eval.yaml").is_file() else {}
    rows = trial.pop("rows", None) or {}
    good = isinstance(rows, dict) and all(
        key in TRIAL_ROWS and isinstance(value, int) and value > 0 for key, value in rows.items()
    )
    if not good:
        raise InputError(
            Problem(
                f"expected whole numbers for {', '.join(TRIAL_ROWS)} (got {rows!r}).",
                show(folder / "trial.yaml"),
                trial_lines.get(("rows",)),
                "rows",
                "recipe.bad_rows",
            )
        )
    return Recipe(name, folder, config, lines, trial, trial_lines, rows, evaluation)


def method(config: AxolotlConfig) -> str:
    """Return the fine-tuning method of a config: its adapter, or `full`."""
    word = "dora" if config.get("peft_use_dora") else str(config.get("adapter") or "full")
    return f"head, {word}" if methods.uses_head(config) else word
