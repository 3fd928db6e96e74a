"""The `dataset.yaml` of a dataset folder.

In: the YAML file. Out: a `Dataset`, from which tunebook/data/render.py renders rows `{id, group, source,
messages, gold}`. The last message of a row is the gold answer. A preference pair also has `rejected`, a list
with the rejected answer as its only message; a row with tools has `tools` as JSON text. Rows do not depend on
a model or a chat template (docs/ARCHITECTURE.md, "The prompt, once").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from jinja2 import TemplateError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunebook.core.environment import environment
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.paths import show
from tunebook.core.yaml_file import Lines, dotted, line_of, read_yaml, validation_problems
from tunebook.data.sources import Source
from tunebook.data.style_rules import Rule, rules_met


class Dataset(BaseModel):
    """`dataset.yaml`, plus `folder`. Without `group`, every row is its own group. Up to `allow_drop` bad rows
    are dropped and reported; `special_tokens: escape` writes template tokens in row text as plain text
    (tunebook/data/markers.py), `allow_special_tokens: n` accepts n rows with such tokens; `look_for_secrets:
    false` switches off that part of `make check`."""

    model_config = ConfigDict(extra="forbid")
    folder: Path
    name: str
    task: Literal["classification", "qa", "chat", "preference"]
    licence: str
    source: Source
    stand_in: str | None = None
    group: str | None = None
    fields: list[str] = []
    system: str
    baseline_prompt: str | None = None
    prompt: str
    answer: str | None = None
    answers: str | None = None
    rejected: str | None = None
    no_answer: str | None = None
    turns: str | None = None
    tools: str | None = None
    labels: list[str] = []
    rules: dict[str, Rule] = {}
    allow_drop: int = Field(default=0, ge=0)
    allow_special_tokens: int = Field(default=0, ge=0)
    special_tokens: Literal["keep", "escape"] = "keep"
    look_for_secrets: bool = True

    @model_validator(mode="after")
    def _fits_task(self) -> Dataset:
        if bool(self.labels) != (self.task == "classification"):
            raise ValueError("labels are required for the task classification, and only allowed there")
        if bool(self.answers) != (self.task == "qa"):
            raise ValueError(
                "answers (a Jinja expression for the list of gold answers) is required for the task qa, "
                "and only allowed there"
            )
        if (self.rejected is None) == (self.task == "preference"):
            raise ValueError(
                "rejected (a template for the rejected answer) is required for the task preference, and only "
                "allowed there"
            )
        if (self.turns is None) == (self.answer is None and self.task != "qa"):
            raise ValueError("set either answer or turns (qa takes its answer from answers)")
        if self.tools and self.turns is None:
            raise ValueError("tools (the field with a row's tools) is only allowed together with turns")
        return self


def datasets_folder() -> Path:
    return environment().datasets


def load_dataset_or_stand_in(name: str, stand_in: bool) -> Dataset:
    """Load dataset `name`, or with `stand_in` (trial tier, benchmarks) its stand-in if it has one.

    Raises:
        InputError: as `load_dataset_config`.
    """
    dataset = load_dataset_config(name)
    return load_dataset_config(dataset.stand_in) if stand_in and dataset.stand_in else dataset


def load_dataset_config(name: str) -> Dataset:
    """Load datasets/`name`/dataset.yaml.

    Raises:
        InputError: the file is missing or invalid; every problem has its line.
    """
    folder = datasets_folder() / name
    path = folder / "dataset.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in datasets_folder().glob("*/dataset.yaml")))
        text = f"no such dataset. Available: {there}."
        raise InputError(Problem(text, show(path), code="data.unknown_dataset"))
    value, lines = read_yaml(path)
    try:
        dataset = Dataset.model_validate({**value, "folder": folder})
        _check_rules(dataset, path, lines)
        return dataset
    except ValidationError as error:
        raise_all(validation_problems(error, show(path), lines, "data.bad_setting"))
        raise


def _check_rules(dataset: Dataset, path: Path, lines: Lines) -> None:
    """Raise InputError for an invalid rule, which would otherwise only fail after training."""
    problems = []
    for name, rule in dataset.rules.items():
        try:
            gold = dict.fromkeys(["answer", *dataset.fields], "text")
            for part in (rule.model_copy(update={"when": None}), Rule(must=rule.when)):
                rules_met({name: part}, "text", gold)
        except (re.error, TemplateError) as error:
            where = ("rules", name)
            line = line_of(lines, where)
            problems.append(Problem(f"{error}.", show(path), line, dotted(where), "data.bad_rule"))
    raise_all(problems)
