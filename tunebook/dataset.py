"""A dataset folder: `dataset.yaml`, its source rows, and the rows rendered from them.

A rendered row is `{id, group, source, messages, gold}`; the last message is the gold answer. Rows
know no model and no chat template (docs/ARCHITECTURE.md, "The prompt, once").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

from tunebook.errors import InputError, Problem, raise_all
from tunebook.paths import ROOT, show
from tunebook.yaml_lines import Lines, dotted, line_of, read

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Row = dict[str, Any]
MAX_SHOWN = 20


class Rule(BaseModel):
    """One rule of a house voice. Patterns are Python regular expressions over the answer and may
    hold Jinja fields of the row's gold; with `when`, the rule applies only where that matches."""

    model_config = ConfigDict(extra="forbid")
    must: str | None = None
    must_not: str | None = None
    once: str | None = None
    when: str | None = None
    max_words: int | None = None


class Source(BaseModel):
    """Where the rows come from: a JSONL file for each split, relative to the dataset folder."""

    model_config = ConfigDict(extra="forbid")
    files: dict[Split, str]


class Dataset(BaseModel):
    """`dataset.yaml`, with `folder` added."""

    model_config = ConfigDict(extra="forbid")
    folder: Path
    name: str
    task: Literal["classification", "chat"]
    licence: str
    source: Source
    group: str
    fields: list[str] = []
    system: str
    baseline_prompt: str | None = None
    prompt: str
    answer: str | None = None
    turns: str | None = None
    labels: list[str] = []
    rules: dict[str, Rule] = {}


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
            problems.append(Problem(item["msg"] + ".", show(path), line_of(lines, where), dotted(where)))
        raise_all(problems)
        raise


def _check_rules(dataset: Dataset, path: Path, lines: Lines) -> None:
    """Raise InputError for a rule that would only fail in the evaluation, after the training."""
    from tunebook.metrics import rules_met

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


def source_file(dataset: Dataset, split: Split) -> Path:
    """Return the file of `split`: below TUNEBOOK_SOURCES/<dataset>/ if that is set."""
    if split not in dataset.source.files:
        path = show(dataset.folder / "dataset.yaml")
        raise InputError(f"{path}: source.files: names no file for {split}. Add one.")
    elsewhere = os.environ.get("TUNEBOOK_SOURCES")
    folder = Path(elsewhere) / dataset.name if elsewhere else dataset.folder
    return folder / dataset.source.files[split]


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line from 1, value or the Problem that the line has)."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8")
                if text.strip():
                    value = json.loads(text)
                    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair fails here
                    yield number, value
            except RecursionError:
                yield number, Problem("nested too deeply.", show(path), number)
            except UnicodeEncodeError:
                yield number, Problem("holds half of a surrogate pair.", show(path), number)
            except UnicodeDecodeError:
                yield number, Problem("not UTF-8 text. Save the file as UTF-8.", show(path), number)
            except json.JSONDecodeError as error:
                yield (
                    number,
                    Problem(
                        f"not JSON: {error.msg} at column {error.colno}. Each line must hold one JSON "
                        "object.",
                        show(path),
                        number,
                    ),
                )


def render(dataset: Dataset, split: Split) -> list[Row]:
    """Read and render every row of `split`.

    Raises:
        InputError: a missing file, or the first 20 problems (`file:line: field: text`) and their count.
    """
    renderer = _Renderer(dataset)
    path = source_file(dataset, split)
    if not path.is_file():
        raise InputError(
            f"{show(path)}: no such rows file. {show(dataset.folder / 'dataset.yaml')} names it under "
            f"source.files.{split}; put it there, or correct the name."
        )
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, value in _read_jsonl(path):
        if isinstance(value, Problem):
            problems.append(value)
            continue
        try:
            row = renderer.row(value, fallback_id=f"{split}-{number}")
        except _RowFault as fault:
            problems.append(Problem(str(fault), show(path), number, fault.field))
            continue
        if row["id"] in seen:
            problems.append(Problem(f"repeats the id of line {seen[row['id']]}.", show(path), number, "id"))
        seen[row["id"]] = number
        rows.append(row)
    if len(problems) > MAX_SHOWN:
        problems = [*problems[:MAX_SHOWN], Problem(f"... {len(problems)} problems in all.", show(path))]
    raise_all(problems)
    if not rows:
        raise InputError(f"{show(path)}: has no rows.")
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
        for name, text in (
            ("system", dataset.system),
            ("prompt", dataset.prompt),
            ("answer", dataset.answer or ""),
        ):
            try:
                self.templates[name] = environment.from_string(text)
            except TemplateError as error:
                path = show(dataset.folder / "dataset.yaml")
                raise InputError(f"{path}: {name}: not a Jinja template: {error.message}.") from None

    def row(self, value: Any, fallback_id: str) -> Row:
        if not isinstance(value, dict):
            raise _RowFault("", f"expected an object (got {type(value).__name__}).")
        group = value.get(self.dataset.group)
        if group is None or group == "":
            raise _RowFault(self.dataset.group, "missing; it is the group that rows are split by.")
        turns = self._turns(value)
        gold = {"answer": turns[-1]["content"]}
        for field in self.dataset.fields:
            if field not in value:
                raise _RowFault(field, "missing; dataset.yaml lists it under fields.")
            gold[field] = value[field]
        if self.dataset.labels and gold["answer"] not in self.dataset.labels:
            raise _RowFault("answer", f"{gold['answer']!r} is not one of the labels of dataset.yaml.")
        system = self._text("system", value)
        messages = [{"role": "system", "content": system}] if system else []
        return {
            "id": str(value.get("id", fallback_id)),
            "group": str(group),
            "source": self.dataset.name,
            "messages": messages + turns,
            "gold": gold,
        }

    def _turns(self, value: Row) -> list[dict[str, str]]:
        if self.dataset.turns is None:
            return [
                {"role": "user", "content": self._filled("prompt", value)},
                {"role": "assistant", "content": self._filled("answer", value)},
            ]
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
