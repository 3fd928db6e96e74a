"""A dataset folder's `dataset.yaml`, and files of rendered rows.

A rendered row (tunebook/data/render.py) is `{id, group, source, messages, gold}`; the last message is the
gold answer. A preference pair also has `rejected`, a list of one message: the answer that is not to be
given; a row whose model may call tools has `tools`, their JSON text. Rows know no model and no chat template
(docs/ARCHITECTURE.md, "The prompt, once").
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
    """`dataset.yaml`, with `folder` added. Without `group`, every row stands alone. Up to `allow_drop`
    bad rows are left out, and said to be; `look_for_secrets: false` silences that part of `make check`."""

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
    look_for_secrets: bool = True

    @model_validator(mode="after")
    def _fits_task(self) -> Dataset:
        if bool(self.labels) != (self.task == "classification"):
            raise ValueError("labels belong to the task classification, which needs them")
        if bool(self.answers) != (self.task == "qa"):
            raise ValueError(
                "answers (a Jinja expression for the list of gold answers) belongs to the task qa"
            )
        if (self.rejected is None) == (self.task == "preference"):
            raise ValueError(
                "rejected (a template for the answer that is not to be given) belongs to the task preference"
            )
        if (self.turns is None) == (self.answer is None and self.task != "qa"):
            raise ValueError("name either answer or turns (qa takes its answer from answers)")
        if self.tools and self.turns is None:
            raise ValueError("tools (the field that holds them) belongs to conversations, which turns names")
        return self


def datasets_folder() -> Path:
    return environment().datasets


def load_dataset_config(name: str) -> Dataset:
    """Load datasets/`name`/dataset.yaml.

    Raises:
        InputError: missing, or not in the form above; every problem with its line.
    """
    folder = datasets_folder() / name
    path = folder / "dataset.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in datasets_folder().glob("*/dataset.yaml")))
        text = f"no such dataset. There are: {there}."
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
    """Raise InputError for a rule that would only fail in the evaluation, after the training."""
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
