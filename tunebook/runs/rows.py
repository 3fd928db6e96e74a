"""The form of rendered rows: what a dataset's templates make, and data/{train,dev,test}.jsonl hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.forms import read_rows_as, write_rows_as


class Function(TypedDict):
    """The tool that a call names, and its arguments as JSON text."""

    name: str
    arguments: str


class Call(TypedDict):
    """One call of a tool."""

    type: str
    function: Function


class Turn(TypedDict):
    """A message. `weight` 0 or 1 says whether an assistant's turn is trained on."""

    role: str
    content: str
    weight: NotRequired[float]
    tool_calls: NotRequired[list[Call]]


Messages = list[Turn]


class Gold(TypedDict):
    """What a row's answer is judged by: its text; for questions all gold answers, [] for none; and the
    `fields` of dataset.yaml under their own names."""

    answer: str
    answers: NotRequired[list[str]]


class RenderedRow(TypedDict):
    """A rendered row. Rows with one `group` stay in one split; `tools` is JSON text, because the columns of a
    table cannot hold objects with different fields; `time` is there only until a split is made by it. In
    memory, a row that ends at an earlier turn of its conversation has the position of that `turn`, and one
    whose split is not decided yet has `held_out`, its messages in dev or test."""

    id: str
    group: str
    source: NotRequired[str]
    messages: Messages
    gold: Gold
    rejected: NotRequired[Messages]
    tools: NotRequired[str]
    time: NotRequired[float]
    turn: NotRequired[int]
    held_out: NotRequired[Messages]


_FORM = TypeAdapter(list[RenderedRow])


def read_rows(path: Path) -> list[RenderedRow]:
    """Return the rendered rows in `path`; raises what `read_rows_as` raises."""
    return read_rows_as(path, _FORM)


def write_rows(path: Path, rows: Iterable[RenderedRow]) -> None:
    """Write rendered rows to `path` in one move; raises what `write_rows_as` raises."""
    write_rows_as(path, _FORM, rows)
