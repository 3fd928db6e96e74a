"""Preference pairs: the layout preference.

In: a row with a chosen and a rejected answer. Out: the conversation that ends with the chosen answer, and the
rejected answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.conversations import conversation
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.meaning.meanings import SCORES
from tunebook.data.formats.rows.prompts import (
    Placed,
    history_and_prompt,
    history_names,
    system_names,
    system_of,
    with_answer,
)
from tunebook.data.formats.rows.row import Columns, Row, other_columns, value_of
from tunebook.data.formats.turn_forms import Turns
from tunebook.data.formats.values import is_empty, plain_name
from tunebook.runs.rows import Messages

NO_TOOLS = "preference tuning does not support tool calls. Remove these rows."


def preference(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    """Yield the conversation that ends with the chosen answer, and the rejected answer."""
    own = columns.get("prompt", "prompt")
    names = [own, "messages", "conversations"]
    name = next((name for name in names if not is_empty(row.get(name))), None)
    at, other = (columns.get(half, half) for half in ("chosen", "rejected"))
    before, prompt = "", list[tuple[str, Any]]()
    if name:
        before, prompt = history_and_prompt(row, {**columns, "prompt": name})
        if name == columns.get("chosen"):  # ms-swift's format: the conversation ends with the chosen answer
            del prompt[-1]
    _refuse_tools(row, name)
    chosen = with_answer(value_of(row, "chosen", columns), prompt, at) if answered else prompt
    system, turns = conversation(Turns(chosen), at, answered)
    if any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        raise RowFault(at, NO_TOOLS, "rows.tools_in_pairs")
    scores = _scores(row) if answered else []
    read = {at, other, *names, *history_names(row), *system_names(row), *columns.values(), *scores}
    refuse_unread(row, {*read, columns.get("input", "input")})
    made = {**other_columns(row, {**columns, "": at}), "turns": turns}
    made["system"] = system_of(row, columns, before or system)
    if answered:
        rejected = value_of(row, "rejected", columns)  # may be empty if only the chosen answer is learned
        whole = [] if is_empty(rejected) else with_answer(rejected, prompt, other)
        made["rejected"] = _rejected(whole, turns, other) if whole else ""
    yield made


def _refuse_tools(row: Row, name: str | None) -> None:
    """Raise for the tools of a pair, in the row or in OpenAI's `input`."""
    inside = row.get(name) if name else None
    for at, holder in (("", row), (f"{name}.", inside)):
        for key in ("tools", "functions"):
            value = holder.get(key) if isinstance(holder, dict) else None
            if not is_empty(value) and value != "[]":
                raise RowFault(f"{at}{key}", NO_TOOLS, "rows.tools_in_pairs")


def _scores(row: Row) -> list[str]:
    """Return the fields that score both answers, after checking that they agree with the pair. A tie counts
    as agreement.

    Raises:
        RowFault: the rejected answer has the higher score.
    """
    named = {plain_name(name): name for name in row if isinstance(name, str)}
    for chosen, rejected in ((named.get(a, a), named.get(b, b)) for a, b in SCORES):
        pair = [row.get(chosen), row.get(rejected)]
        if all(isinstance(score, (int, float)) and not isinstance(score, bool) for score in pair):
            if row[chosen] < row[rejected]:
                message = (
                    f"the chosen answer scores {row[chosen]}, but the rejected one scores {row[rejected]}. "
                    f'Swap them, keep only the other pairs (--where "{chosen} >= {rejected}", WHERE=), or '
                    f'ignore the scores (--drop "{chosen} {rejected}", DROP=).'
                )
                raise RowFault(chosen, message, "rows.scores_disagree")
            return [chosen, rejected]
    return []


def _rejected(rejected: Placed, chosen: Messages, at: str) -> str:
    """Return the rejected answer.

    Raises:
        RowFault: the conversations differ before their last turn, so they answer different prompts.
    """
    turns = conversation(Turns(rejected), at, True)[1]
    if [turn["content"] for turn in turns[:-1]] != [turn["content"] for turn in chosen[:-1]]:
        message = (
            "differs from the chosen conversation before the last turn. A pair has one prompt and two "
            "answers. Cut both conversations after the first answer that differs."
        )
        raise RowFault(at, message, "rows.pair_diverges")
    return turns[-1]["content"]
