"""THINKING=: what becomes of reasoning in the answers.

In: the option and the rendered rows. Out: notes for the card, or an error where the rows have reasoning and
nobody said what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunebook.commands.fork.columns import Reading
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.thoughts import CLOSE
from tunebook.data.thinking.answers import has_reasoning
from tunebook.runs.rows import RenderedRow

KEY = "--thinking (THINKING=)"
SAYS = {
    "keep": "learned",
    "mask": "shown, and only the answers are learned",
    "off": "left out of training and prompts",
}


def check_reading(thinking: str, reading: Reading) -> None:
    """Refuse THINKING= for rows that are not read as conversations.

    Raises:
        InputError: it names the option.
    """
    if thinking and (reading.task != "chat" or reading.layout not in ("chat", "pairs")):
        text = f"is for reasoning in conversations, and the rows are read as {reading.layout}. Leave it out."
        raise InputError(Problem(text, key=KEY, code="option.no_effect"))


def refuse_undecided(thinking: str, rows: Mapping[Any, list[RenderedRow]], place: str) -> None:
    """Refuse think blocks in the text of answers without THINKING=, and THINKING= for rows without reasoning.

    Raises:
        InputError: it names the choices.
    """
    every = [row for some in rows.values() for row in some]
    if thinking:
        if not any(map(has_reasoning, every)):
            text = f"no answer of {place} has reasoning. Leave it out."
            raise InputError(Problem(text, key=KEY, code="option.no_effect"))
        return
    inside = sum(_has_block(row) for row in every if "rejected" not in row)
    if inside:
        text = f"{inside} of {len(every)} rows of {place} have reasoning between <think> and {CLOSE} in "
        text += "their answers. Say what becomes of it: THINKING=keep learns it, THINKING=mask shows it and "
        text += "learns only the answers, THINKING=off leaves it out."
        raise InputError(Problem(text, key=KEY, code="fork.thinking_undecided"))


def _has_block(row: RenderedRow) -> bool:
    return any(turn["role"] == "assistant" and CLOSE in turn["content"] for turn in row["messages"])


def has_weights(rows: list[RenderedRow]) -> bool:
    """Return whether a row has turns that are not learned."""
    return any(turn.get("weight") == 0 for row in rows for turn in row["messages"])


def notes(thinking: str, rows: Mapping[Any, list[RenderedRow]]) -> list[str]:
    """Return what was found and is done, for the card."""
    if not thinking:
        return []
    found = [f"{sum(map(has_reasoning, some))} of {len(some)} {split} rows" for split, some in rows.items()]
    made = [f"{', '.join(found)} have reasoning: it is {SAYS[thinking]} (THINKING={thinking})"]
    if any("/" in row["id"] and has_weights([row]) for row in rows["train"]):
        made.append(
            "each answer of a conversation with reasoning is a row of train, because chat templates show the "
            "reasoning of the last answer only"
        )
    return made
