"""Forgetting: abilities of the base model, measured again on the fine-tuned model
(evals/suites/retention.yaml).

Each task scores every item, for the base model and for the fine-tuned model. The gate is a non-inferiority
test: the upper end of the 95 % interval of the drop must stay within the task's margin. Tasks on which the
base model is at chance are excluded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from tunebook.core.errors import InputError
from tunebook.core.files import Row, read_jsonl
from tunebook.core.paths import ROOT, show
from tunebook.core.words import pieces
from tunebook.data.prompt import PromptEncoder
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.records import JobRecord
from tunebook.metrics import scoring
from tunebook.metrics.answers import Value, read_values
from tunebook.metrics.intervals import GAP, SHARE, interval, mean_interval
from tunebook.metrics.schema import RetentionLine
from tunebook.runs.rows import Turn

LONG_PARAGRAPH = 200  # characters; shorter lines of a raw text are headings
MAX_NEW = 48
LATER = ("thinking", "max_new_tokens")
NO_REASONING = "the chat template has no reasoning"


class Task(BaseModel):
    """A retention task. `file` contains the items: texts (`text`), questions with options ranked by
    likelihood per byte (`options`), or instructions checked by code (`checks`); alternatively, `harness`
    names a task of lm-evaluation-harness.

    `margin` limits the drop: relative bits per byte for `text`, otherwise a share; without a margin, the drop
    is only reported. `limit` uses only the first items. `chat` applies the chat template to a harness task.
    `tiers` and `full` say when the task runs. `thinking` asks instructions with the reasoning of the model
    switched on, for recipes that set `thinking`; an answer without reasoning counts as wrong.
    `max_new_tokens` limits generated answers (default: 48).
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["text", "options", "checks", "harness"]
    file: str | None = None
    harness: str | None = None
    margin: float | None = Field(default=None, gt=0)
    chance: float = Field(default=0.0, ge=0, lt=1)
    limit: int | None = Field(default=None, gt=0)
    chat: bool = False
    tiers: list[Literal["trial", "real"]] = ["trial", "real"]
    full: bool = False
    thinking: bool = False
    max_new_tokens: int | None = Field(default=None, gt=0)

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later fields where they are not set, so that the hash of other evaluations stays as it
        was."""
        made: dict[str, Any] = handler(self)
        return {key: value for key, value in made.items() if key not in LATER or value}

    @model_validator(mode="after")
    def _one_source(self) -> Task:
        if (self.kind == "harness") == (self.harness is None) or (self.kind == "harness") == bool(self.file):
            raise ValueError("a task of kind harness needs `harness`, any other needs `file`")
        if self.thinking and self.kind != "checks":
            raise ValueError("thinking only applies to tasks of kind checks, whose answers are generated")
        return self

    def path(self) -> Path | None:
        """Return the file with the items, or None if its path uses a variable that is not set."""
        if "$" in str(self.file):
            expanded = os.path.expandvars(str(self.file))
            return None if "$" in expanded else Path(expanded)
        return ROOT / str(self.file)


def items(task: Task) -> list[Row]:
    """Read the items of a task as `{id, text}`, `{id, question | context, options, answer}` or
    `{id, prompt, checks}`.

    Raises:
        InputError: no such file.
    """
    if task.kind == "harness":
        return []
    path = task.path()
    if path is None or not path.is_file():
        raise InputError(
            f"evals/suites/retention.yaml: {task.file}: file not found.", code="eval.no_items_file"
        )
    if path.suffix != ".jsonl":
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        texts = [line for line in lines if len(line) >= LONG_PARAGRAPH]
        return [{"id": f"line-{i}", "text": text} for i, text in enumerate(texts[: task.limit])]
    rows = []
    for number, row in enumerate(read_jsonl(path)[: task.limit]):
        row.setdefault("id", str(number))
        if task.kind == "options":  # also the field names of ARC and HellaSwag
            row["options"] = row.get("options") or row.get("choices") or row["endings"]
            row["answer"] = row["answer"] if "answer" in row else row["label"]
            row["context"] = row.get("context", row.get("ctx"))
        rows.append(row)
    return rows


def job(name: str, model: str, task: Task, rows: list[Row], encoder: PromptEncoder) -> Job:
    """Return the job in which `model` answers all items of the task called `name`."""
    split, tokenizer = f"retention-{name}", encoder.tokenizer
    if task.kind == "harness":
        settings = {"name": task.harness, "limit": task.limit, "chat": task.chat}
        return Job(model, split, "harness", [str(task.harness)], [[]], task=settings)
    ids = [str(row["id"]) for row in rows]
    if task.kind == "text":
        encoded = [tokenizer(row["text"], add_special_tokens=False)["input_ids"] for row in rows]
        # The passage after its first token, which has no context.
        return Job(model, split, "score", ids, [ids_[:1] for ids_ in encoded], [ids_[1:] for ids_ in encoded])
    if task.kind == "checks":
        asks = encoder_for(task, encoder)
        prompt = asks.context if task.thinking else asks.direct
        contexts = [prompt([{"role": "user", "content": row["prompt"]}]) for row in rows]
        return Job(model, split, "generate", ids, contexts, max_new=task.max_new_tokens or MAX_NEW)
    contexts, answers, names = [], [], []
    for row in rows:
        for number, option in enumerate(row["options"]):
            names.append(f"{row['id']}/{number}")
            if row.get("context") is not None:
                contexts.append(tokenizer(row["context"], add_special_tokens=False)["input_ids"])
                answers.append(tokenizer(f" {option}", add_special_tokens=False)["input_ids"])
            else:
                question = Turn(role="user", content=row["question"])
                encoded_row = encoder.encode([question, Turn(role="assistant", content=option)])
                contexts.append(encoded_row.context)
                answers.append(encoded_row.answer)
    return Job(model, split, "score", names, contexts, answers)


def encoder_for(task: Task, encoder: PromptEncoder) -> PromptEncoder:
    """Return the encoder of a task's prompts: that of the run, or with thinking switched on.

    Raises:
        ValueError: the chat template has no reasoning.
    """
    if not task.thinking:
        return encoder
    found = encoder.thinking_on()
    if found is None:
        raise ValueError(NO_REASONING)
    return found


def values(task: Task, rows: list[Row], records: list[JobRecord], encoder: PromptEncoder) -> list[Value]:
    """Return the score of each item: bits per byte, or 1 for right and 0 for wrong."""
    if task.kind == "harness":
        return [{**item, "group": item["id"]} for item in records[0]["items"]]
    result, start = list[Value](), 0
    asks = encoder_for(task, encoder) if task.kind == "checks" else encoder
    for number, row in enumerate(rows):
        if task.kind == "text":
            value = scoring.bits_per_byte(records[number]["logprob"], row["text"])
        elif task.kind == "checks":
            said = asks.said(records[number]["tokens"])
            right = all_met(row["checks"], said.answer) and not said.unfinished
            value = float(right and (bool(said.thought) or not task.thinking))
        else:
            options = row["options"]
            # Likelihood per byte, the harness's acc_norm: long options are not penalized for their length.
            scores = [records[start + i]["logprob"] / len(text.encode()) for i, text in enumerate(options)]
            value = float(max(range(len(scores)), key=scores.__getitem__) == row["answer"])
            start += len(options)
        result.append({"id": str(row["id"]), "group": str(row["id"]), "value": value})
    return result


def all_met(checks: list[dict[str, Any]], text: str) -> bool:
    """Return whether `text` meets every check (evals/retention/README.md); each check is one key and its
    value.

    Raises:
        InputError: an unknown check.
    """
    words, lines = pieces(text), [line for line in text.splitlines() if line.strip()]
    known: dict[str, Callable[[Any], bool]] = {
        "max_words": lambda wanted: len(words) <= wanted,
        "min_words": lambda wanted: len(words) >= wanted,
        "starts_with": text.startswith,
        "ends_with": text.endswith,
        "contains": lambda wanted: wanted in text,
        "not_contains": lambda wanted: wanted not in text,
        "regex": lambda wanted: re.search(wanted, text) is not None,
        "lines": lambda wanted: len(lines) == wanted,
        "lowercase": lambda wanted: text == text.lower(),
        "uppercase": lambda wanted: text == text.upper(),
        "sentences_at_most": lambda wanted: len(re.findall(r"[.!?]+(?=\s|$)", text)) <= wanted,
    }
    pairs = [pair for check in checks for pair in check.items()]
    unknown = [name for name, _ in pairs if name not in known]
    if unknown:
        raise InputError(
            f"evals: unknown check (got {unknown[0]!r}). Known: {', '.join(known)}.",
            code="eval.unknown_check",
        )
    return all(known[name](wanted) for name, wanted in pairs)


def compared(name: str, task: Task, base: list[Value], tuned: list[Value]) -> RetentionLine:
    """Compare the fine-tuned model with the base model on one task.

    Returns:
        `drop` (positive: worse; relative for text) with its interval over items, and `passed`: whether the
        interval's upper end is within the margin, None if the task is excluded or has no margin.
    """
    import numpy as np  # scipy.stats is slow to import, and the command line only needs the settings

    a, b = (np.array([row["value"] for row in rows], dtype=float) for rows in (base, tuned))
    groups = [str(row["group"]) for row in base]
    text = task.kind == "text"
    shares = not text and max(a.max(), b.max()) <= 1  # a harness task may report bits per byte

    def drop(rows: Any) -> float:
        if text:
            return float(b[rows].mean() / a[rows].mean() - 1)
        return float(a[rows].mean() - b[rows].mean())

    bounds = interval(drop, groups, GAP if shares else None)
    of_base = mean_interval(a, groups, SHARE if shares else None)
    above = text or (of_base is not None and of_base[0] > task.chance)
    high = bounds[1] if bounds else None
    return {
        "task": name,
        "kind": task.kind,
        "items": len(base),
        "base": float(a.mean()),
        "tuned": float(b.mean()),
        "chance": task.chance,
        "drop": drop(np.arange(len(a))),
        "low": bounds[0] if bounds else None,
        "high": high,
        "margin": task.margin,
        "takes_part": above,
        "passed": high <= task.margin if above and high is not None and task.margin is not None else None,
    }


def answers_file(folder: Path, model: str, name: str) -> Path:
    """Return the file with the scores of a task for `model` ("base" or "tuned")."""
    return folder / f"{model}.retention-{name}.jsonl"


def retained(folder: Path, tasks: dict[str, Task]) -> list[RetentionLine]:
    """Compare all tasks whose scores are in `folder` (a run's eval/answers/)."""
    lines = []
    for name, task in tasks.items():
        files = [answers_file(folder, model, name) for model in ("base", "tuned")]
        if all(path.is_file() for path in files):
            lines.append(compared(name, task, *map(read_values, files)))
    return lines


def missing(tasks: dict[str, Task]) -> dict[str, str]:
    """Return why each task that cannot run is skipped: its file path uses a variable that is not set."""
    return {
        name: f"{task.file}: the variable is not set"
        for name, task in tasks.items()
        if task.kind != "harness" and task.path() is None
    }


def check_files(tasks: dict[str, Task]) -> list[str]:
    """Return a line for each task whose file does not exist."""
    paths = {name: task.path() for name, task in tasks.items() if task.kind != "harness"}
    return [f"{name}: {show(p)}: file not found." for name, p in paths.items() if p and not p.is_file()]
