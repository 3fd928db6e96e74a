"""Rows with reasoning, as training needs them: one row for each answer of a conversation, or none of it.

A template shows the reasoning of the last answer only (Qwen3 leaves it out of earlier turns, as a model sees
them later in a conversation), so that in one row of several answers only the last could be learned with its
reasoning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from tunebook.data.tool_calls import written
from tunebook.runs.rows import Gold, Messages, RenderedRow, Turn


def has_reasoning(row: RenderedRow) -> bool:
    """Return whether a turn of a row has reasoning."""
    return any(turn.get("reasoning_content") for turn in row["messages"])


def plain(messages: Iterable[Turn]) -> Messages:
    """Return turns without their reasoning."""
    return [
        cast(Turn, {key: value for key, value in turn.items() if key != "reasoning_content"})
        if "reasoning_content" in turn
        else turn
        for turn in messages
    ]


def without_reasoning(row: RenderedRow) -> RenderedRow:
    """Return a row without reasoning."""
    return {**row, "messages": plain(row["messages"])} if has_reasoning(row) else row


def each_answer(row: RenderedRow) -> list[RenderedRow]:
    """Return a row for each answer of a conversation with reasoning: earlier answers get weight 0, and the
    row's id ends in the number of the answer. Any other row is returned as it is. An answer after a tool's
    result belongs to the same question, whose reasoning templates keep, and the answers to one question stay
    in one row."""
    messages = row["messages"]
    if not has_reasoning(row):
        return [row]
    ends = _last_of_question(messages)
    if len(ends) < 2:
        return [row]
    made, start = list[RenderedRow](), 0
    for number, end in enumerate(ends, 1):
        own = range(start, end + 1)
        start = end + 1
        if not any(_is_learned(messages[place]) for place in own):
            continue
        turns = [
            cast(Turn, {**turn, "weight": int(place in own and _is_learned(turn))})
            if turn["role"] == "assistant"
            else turn
            for place, turn in enumerate(messages[: end + 1])
        ]
        gold: Gold = {**row["gold"], "answer": written(messages[end])}
        made.append({**row, "id": f"{row['id']}/{number}", "messages": turns, "gold": gold})
    return made


def _is_learned(turn: Turn) -> bool:
    return turn["role"] == "assistant" and turn.get("weight") in (None, 1)


def _last_of_question(messages: Messages) -> list[int]:
    """Return the place of the last assistant turn after each user turn."""
    found = list[int]()
    for place, turn in enumerate(messages):
        if turn["role"] == "assistant":
            later = (
                other["role"] for other in messages[place + 1 :] if other["role"] in ("user", "assistant")
            )
            if next(later, "user") == "user":
                found.append(place)
    return found
