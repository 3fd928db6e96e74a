"""The form of the files in eval/answers/: what each contender answered, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.errors import Problem
from tunebook.core.forms import check, read_rows_as, write_rows_as


class Scored(TypedDict, total=False):
    """A generated answer and what it is worth: `label` is what it names (None: no label), `stopped` whether
    it ended by itself; `golds`, `em` and `f1` are SQuAD's."""

    answer: str
    stopped: bool
    label: str | None
    golds: list[str]
    em: float
    f1: float
    chrf: float
    rules: float | None
    rules_met: dict[str, bool]
    length_ratio: float
    calls: float | None


class Margins(TypedDict):
    """By how much the chosen answer of a preference pair is preferred, in nats."""

    margin: float
    margin_per_byte: float


class Answer(Scored):
    """A contender's answer to a row of a split (`<contender>.<split>.jsonl`), with the measurements that were
    made.

    `gold` is the reference, `scores` are nats by label, `loss` is in bits per byte; `reward` is the margin
    against that of the base; `turn` is the position of the turn that was answered, `turns` are those that
    were scored, with a loss each; `error` is why an endpoint gave no answer.
    """

    id: str
    group: str
    gold: NotRequired[str]
    scores: NotRequired[list[float]]
    loss: NotRequired[float]
    margin: NotRequired[float]
    margin_per_byte: NotRequired[float]
    reward: NotRequired[float]
    turn: NotRequired[int]
    turns: NotRequired[list[int]]
    turn_losses: NotRequired[list[float]]
    error: NotRequired[str]


class Value(TypedDict):
    """The value of an item of a forgetting or style task (`<model>.retention-<task>.jsonl`,
    `<model>.style-<condition>.jsonl`); the latter also keep the answer."""

    id: str
    group: str
    value: float
    answer: NotRequired[str]
    stopped: NotRequired[bool]


class StyleAnswer(Answer):
    """An answer under another prompt style, and its value."""

    value: float


_ANSWERS, _VALUES = TypeAdapter(list[Answer]), TypeAdapter(list[Value])


def answer_problems(path: Path, records: Iterable[object], advice: str) -> list[Problem]:
    """Return what is wrong with the form of the answers in `path`, the first lines; `advice` says what to do
    about it."""
    return check(path, _ANSWERS, records, advice)


def read_answer_file(path: Path) -> list[Answer]:
    """Return the answers in `path`; raises what `read_rows_as` raises."""
    return read_rows_as(path, _ANSWERS)


def write_answers(path: Path, records: Iterable[Answer]) -> None:
    """Write answers to `path` in one move; raises what `write_rows_as` raises."""
    write_rows_as(path, _ANSWERS, records)


def read_values(path: Path) -> list[Value]:
    """Return the values in `path`; raises what `read_rows_as` raises."""
    return read_rows_as(path, _VALUES)


def write_values(path: Path, records: Iterable[Value]) -> None:
    """Write values to `path` in one move; raises what `write_rows_as` raises."""
    write_rows_as(path, _VALUES, records)
