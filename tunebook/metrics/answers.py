"""The schema of the files in eval/answers/: what each contender answered, and the scores of its answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.errors import Problem
from tunebook.core.forms import check, read_rows_as, write_rows_as


class Scored(TypedDict, total=False):
    """A generated answer and its scores: `label` is the label it names (None: no label), `stopped` whether it
    ended by itself; `golds`, `em` and `f1` are SQuAD's. With `thinking`, `reasoning` is what the model wrote
    before the answer, and `unfinished` whether it never came to an answer."""

    answer: str
    stopped: bool
    reasoning: str
    unfinished: bool
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
    """How much the chosen answer of a preference pair is preferred over the rejected one, in nats."""

    margin: float
    margin_per_byte: float


class Answer(Scored):
    """A contender's answer to a row of a split (`<contender>.<split>.jsonl`), with its scores.

    `gold` is the reference; `scores` holds nats per label; `loss` is in bits per byte; `reward` is the margin
    minus that of the base model; `turn` is the index of the answered turn; `turns` are the scored turns, each
    with its loss; `error` says why an endpoint gave no answer.
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
    """The score of one item of a forgetting or style task (`<model>.retention-<task>.jsonl`,
    `<model>.style-<condition>.jsonl`); style files also store the answer."""

    id: str
    group: str
    value: float
    answer: NotRequired[str]
    stopped: NotRequired[bool]


class StyleAnswer(Answer):
    """An answer under another prompt style, and its score."""

    value: float


_ANSWERS, _VALUES = TypeAdapter(list[Answer]), TypeAdapter(list[Value])


def answer_problems(path: Path, records: Iterable[object], advice: str) -> list[Problem]:
    """Validate `records`, the answers in `path`; return the first problems. `advice` says what to do about
    them."""
    return check(path, _ANSWERS, records, advice)


def read_answer_file(path: Path) -> list[Answer]:
    """Return the answers in `path`; raises what `read_rows_as` raises."""
    return read_rows_as(path, _ANSWERS)


def write_answers(path: Path, records: Iterable[Answer]) -> None:
    """Write answers to `path` atomically; raises what `write_rows_as` raises."""
    write_rows_as(path, _ANSWERS, records)


def read_values(path: Path) -> list[Value]:
    """Return the scores in `path`; raises what `read_rows_as` raises."""
    return read_rows_as(path, _VALUES)


def write_values(path: Path, records: Iterable[Value]) -> None:
    """Write scores to `path` atomically; raises what `write_rows_as` raises."""
    write_rows_as(path, _VALUES, records)
