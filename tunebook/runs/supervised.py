"""train/supervised.json: what came of comparing the supervised text of all prepared rows with the rows.

Written by the training process before its first step (tunebook/plugins/supervised_text.py), read by the
process that started it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.errors import InputError, Problem
from tunebook.runs.records import read

FILE = "supervised.json"  # in the training folder
SHOWN = 3  # rows that differ


class Difference(TypedDict):
    """A row that would be trained on other text: its file ("" if no file has it), line and id, and what
    differs."""

    file: str
    line: int
    id: str
    text: str


class Supervised(TypedDict):
    """How many prepared rows there are, were compared and differ; the first that differ; how many longer rows
    of the files are left out; why how many rows were not compared."""

    rows: int
    compared: int
    differ: int
    first: list[Difference]
    left_out: int
    not_compared: dict[str, int]
    seconds: float
    fingerprint: str


_FORM = TypeAdapter(Supervised)


def read_supervised(training: Path) -> Supervised | None:
    """Return what the file in a training folder says; None if it is missing or damaged, because it is only
    said, and made again by a training."""
    if not (training / FILE).is_file():
        return None
    try:
        return read(training / FILE, _FORM)
    except InputError:
        return None


def forget_difference(training: Path) -> None:
    """Remove the file if rows differed, before a training compares them again."""
    found = read_supervised(training)
    if found and found["differ"]:
        (training / FILE).unlink()


def sentence(found: Supervised) -> str:
    """Return in one sentence what was compared and what was not."""
    left = [f"{why} ({count:,} rows)" for why, count in found["not_compared"].items()]
    not_compared = f"not compared: {'; '.join(left)}" if left else ""
    if not found["compared"]:
        return f"the supervised text of the rows is {not_compared}"
    text = (
        f"before the first step, the supervised text of {found['compared']:,} of {found['rows']:,} rows was "
        "compared with the rows and is the same"
    )
    if found["left_out"]:
        text += f"; {found['left_out']:,} rows longer than sequence_len are not trained on"
    return f"{text}; {not_compared}" if left else text


def refuse_other_text(found: Supervised | None) -> None:
    """Do nothing unless rows would be trained on other text than they have.

    Raises:
        InputError: they would; it names the first of them.
    """
    if not found or not found["differ"]:
        return
    text = (
        f"{found['differ']:,} of {found['rows']:,} rows would be trained on other text than they have, so "
        "the training has not started. What is learned depends on the chat template and on keys such as "
        "train_on_inputs, roles_to_train, train_on_eos and eot_tokens; correct them."
    )
    problems = [
        Problem(
            one["text"],
            one["file"] or None,
            one["line"] or None,
            f"id {one['id']}" if one["id"] else None,
            code="train.other_text",
        )
        for one in found["first"]
    ]
    problems.append(Problem(text, code="train.other_text"))
    raise InputError("\n".join(map(str, problems)), problems=problems)
