"""A dataset folder: `dataset.yaml`, and the rows rendered from its source rows.

A rendered row is `{id, group, source, messages, gold}`; the last message is the gold answer. Rows
know no model and no chat template (docs/ARCHITECTURE.md, "The prompt, once").
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tunebook.errors import InputError, Problem, raise_all
from tunebook.paths import ROOT, show
from tunebook.rules import Rule, rules_met
from tunebook.sampling import sample_groups
from tunebook.sources import SPLITS, Source, Split, raw_rows
from tunebook.yaml_lines import Lines, dotted, line_of, read

Row = dict[str, Any]
MAX_SHOWN = 20
CUT_SEED = 42


class Dataset(BaseModel):
    """`dataset.yaml`, with `folder` added. Without `group`, every row stands alone."""

    model_config = ConfigDict(extra="forbid")
    folder: Path
    name: str
    task: Literal["classification", "qa", "chat"]
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
    no_answer: str | None = None
    turns: str | None = None
    labels: list[str] = []
    rules: dict[str, Rule] = {}

    @model_validator(mode="after")
    def _fits_task(self) -> Dataset:
        if bool(self.labels) != (self.task == "classification"):
            raise ValueError("labels belong to the task classification, which needs them")
        if bool(self.answers) != (self.task == "qa"):
            raise ValueError(
                "answers (a Jinja expression for the list of gold answers) belongs to the task qa"
            )
        if (self.turns is None) == (self.answer is None and self.task != "qa"):
            raise ValueError("name either answer or turns (qa takes its answer from answers)")
        return self


def load(name: str) -> Dataset:
    """Load datasets/`name`/dataset.yaml.

    Raises:
        InputError: missing, or not in the form above; every problem with its line.
    """
    folder = ROOT / "datasets" / name
    path = folder / "dataset.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in ROOT.glob("datasets/*/dataset.yaml")))
        raise InputError(f"{show(path)}: no such dataset. There are: {there}.")
    value, lines = read(path)
    try:
        dataset = Dataset.model_validate({**value, "folder": folder})
        _check_rules(dataset, path, lines)
        return dataset
    except ValidationError as error:
        problems = []
        for item in error.errors():
            where = tuple(item["loc"])
            text = item["msg"].removeprefix("Value error, ")
            problems.append(Problem(f"{text}.", show(path), line_of(lines, where), dotted(where)))
        raise_all(problems)
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
            problems.append(Problem(f"{error}.", show(path), line_of(lines, where), dotted(where)))
    raise_all(problems)


def render(dataset: Dataset, split: Split) -> list[Row]:
    """Read and render every row of `split`.

    Raises:
        InputError: a missing file, or the first 20 problems (`file:line: field: text`) and their count.
        MachineError: the rows are on the Hub, which cannot be reached.
    """
    if not dataset.source.dev_share or split == "test":
        return _render(dataset, split)
    return _cut(dataset, _render(dataset, "train"))[split]


def render_all(dataset: Dataset) -> dict[Split, list[Row]]:
    """Read and render every split, each source once; raises what `render` raises."""
    if not dataset.source.dev_share:
        return {split: _render(dataset, split) for split in SPLITS}
    return {**_cut(dataset, _render(dataset, "train")), "test": _render(dataset, "test")}


def _cut(dataset: Dataset, rows: list[Row]) -> dict[Split, list[Row]]:
    """Cut dev off the rows of train, as `source.dev_share` says."""
    count = max(1, round((dataset.source.dev_share or 0) * len(rows)))
    dev = sample_groups(rows, count, CUT_SEED, stratify=bool(dataset.labels))
    taken = {row["id"] for row in dev}
    return {"train": [row for row in rows if row["id"] not in taken], "dev": dev}


def _render(dataset: Dataset, split: Split) -> list[Row]:
    renderer = _Renderer(dataset)
    place, raw = raw_rows(dataset.source, dataset.folder, split)
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, value in raw:
        if isinstance(value, Problem):
            problems.append(value)
            continue
        try:
            row = renderer.row(value, fallback_id=f"{split}-{number}")
        except _RowFault as fault:
            problems.append(Problem(str(fault), place, number, fault.field))
            continue
        if row["id"] in seen:
            problems.append(Problem(f"repeats the id of line {seen[row['id']]}.", place, number, "id"))
        seen[row["id"]] = number
        rows.append(row)
    if len(problems) > MAX_SHOWN:
        problems = [*problems[:MAX_SHOWN], Problem(f"... {len(problems)} problems in all.", place)]
    raise_all(problems)
    if not rows:
        raise InputError(f"{place}: has no rows.")
    return rows


class _RowFault(Exception):
    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class _Renderer:
    """Turns one source object into one row, by the templates of dataset.yaml."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, finalize=lambda value: "" if value is None else value
        )
        self.templates = {}
        self.golds = None
        texts = {"system": dataset.system, "prompt": dataset.prompt, "answer": dataset.answer or ""}
        try:
            for name, text in texts.items():
                self.templates[name] = environment.from_string(text)
            name = "answers"
            if dataset.answers:
                self.golds = environment.compile_expression(dataset.answers)
        except TemplateError as error:
            path = show(dataset.folder / "dataset.yaml")
            raise InputError(f"{path}: {name}: not a Jinja template: {error.message}.") from None

    def row(self, value: Any, fallback_id: str) -> Row:
        if not isinstance(value, dict):
            raise _RowFault("", f"expected an object (got {type(value).__name__}).")
        name = str(value.get("id", fallback_id))
        field = self.dataset.group
        group = name if field is None else value.get(field)
        if group is None or group == "":
            raise _RowFault(str(field), "missing; it is the group that rows are split by.")
        golds = self._golds(value)
        turns = self._turns(value, golds)
        gold: dict[str, Any] = {"answer": turns[-1]["content"]}
        if golds is not None:
            gold["answers"] = golds
        for field in self.dataset.fields:
            if field not in value:
                raise _RowFault(field, "missing; dataset.yaml lists it under fields.")
            gold[field] = value[field]
        if self.dataset.labels and gold["answer"] not in self.dataset.labels:
            raise _RowFault("answer", f"{gold['answer']!r} is not one of the labels of dataset.yaml.")
        system = self._text("system", value)
        messages = [{"role": "system", "content": system}] if system else []
        return {
            "id": name,
            "group": str(group),
            "source": self.dataset.name,
            "messages": messages + turns,
            "gold": gold,
        }

    def _golds(self, value: Row) -> list[str] | None:
        """Return the gold answers of a question, [] where it has none; None for other tasks."""
        if self.golds is None:
            return None
        try:
            found = self.golds(value)
        except (TemplateError, TypeError, ValueError) as error:
            raise _RowFault("answers", f"the expression of dataset.yaml fails: {error}.") from None
        if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
            raise _RowFault("answers", f"expected a list of texts, empty for no answer (got {found!r}).")
        return list(dict.fromkeys(text.strip() for text in found))

    def _turns(self, value: Row, golds: list[str] | None) -> list[dict[str, str]]:
        if self.dataset.turns is None:
            asked = self._filled("prompt", value)
            if golds is None:
                answer = self._filled("answer", value)
            elif not golds and self.dataset.no_answer is None:
                raise _RowFault("answers", "empty, and dataset.yaml says no text for that under no_answer.")
            else:
                answer = golds[0] if golds else str(self.dataset.no_answer)
            return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        turns = value.get(self.dataset.turns)
        field = self.dataset.turns
        if not isinstance(turns, list) or len(turns) < 2:
            raise _RowFault(field, "expected a list of at least two turns.")
        result = []
        for index, turn in enumerate(turns):
            role = ("user", "assistant")[index % 2]
            if not isinstance(turn, dict) or turn.get("role") != role:
                raise _RowFault(f"{field}[{index}].role", f"expected {role!r}; turns alternate.")
            content = turn.get("content")
            if not isinstance(content, str) or not content.strip():
                raise _RowFault(f"{field}[{index}].content", "empty; nothing could be learned from it.")
            if index == 0:
                content = self._text("prompt", {**value, "content": content})
            result.append({"role": role, "content": content.strip()})
        if result[-1]["role"] != "assistant":
            raise _RowFault(f"{field}[{len(turns) - 1}].role", "the last turn must be the assistant's.")
        return result

    def _filled(self, name: str, value: Row) -> str:
        text = self._text(name, value)
        if not text:
            raise _RowFault(name, "renders to nothing; there would be nothing to learn from.")
        return text

    def _text(self, name: str, value: Row) -> str:
        try:
            return self.templates[name].render(value).strip()
        except (TemplateError, TypeError, ValueError) as error:
            raise _RowFault(name, f"the template of dataset.yaml fails: {error}.") from None


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write `rows` as JSONL to `path` in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def read_rows(path: Path) -> list[Row]:
    """Read rows that `write_rows` wrote."""
    # Not splitlines(), which would also cut at U+2028 inside a text.
    with path.open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]
