"""The schema of rendered rows: the output of a dataset's templates, stored in data/{train,dev,test}.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.forms import read_rows_as, write_rows_as


class Function(TypedDict):
    """The name of the called tool and its arguments as JSON text."""

    name: str
    arguments: str


class Call(TypedDict):
    """A tool call."""

    type: str
    function: Function


class Turn(TypedDict):
    """A message. `weight` 0 or 1 says whether an assistant turn is trained on; `reasoning_content` is the
    reasoning before its answer, which is no part of `content`."""

    role: str
    content: str
    weight: NotRequired[float]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[Call]]


Messages = list[Turn]


class Gold(TypedDict):
    """The reference for a row's answer: its text; for questions, all gold answers ([] if there is none); and
    the `fields` of dataset.yaml under their own names."""

    answer: str
    answers: NotRequired[list[str]]


class RenderedRow(TypedDict):
    """A rendered row. Rows with the same `group` stay in one split; `tools` is JSON text, because table
    columns cannot hold objects with different fields; `time` is kept only until a split by time is made.

    In memory, a row that ends at an earlier turn of its conversation has the index of that `turn`, and a row
    not yet assigned to a split has `held_out`, its messages in dev or test."""

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
    """Write rendered rows to `path` atomically; raises what `write_rows_as` raises."""
    write_rows_as(path, _FORM, rows)
