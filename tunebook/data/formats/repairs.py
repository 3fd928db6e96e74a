"""Repairs for conversations whose turns do not alternate between user and assistant, chosen by the user.

In: the parsed turns of a conversation. Out: the turns after the repairs that `source.repair` of dataset.yaml
names (`make fork ... REPAIR="join_turns drop_opening"`), and which repairs changed something. Nothing is
repaired unless named there; fork and the dataset's card report how many conversations were changed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from tunebook.core.errors import RowFault
from tunebook.runs.rows import Turn

Repair = Literal["join_turns", "drop_opening", "drop_unanswered"]
SAYS: dict[str, str] = {
    "join_turns": "consecutive turns of the same role are joined with an empty line between them",
    "drop_opening": "the turns before the first user turn are dropped",
    "drop_unanswered": "the turns after the last assistant turn are dropped",
}
Placed = list[tuple[str, Turn]]


def option(repair: Repair) -> str:
    """Return the option that requests a repair, for messages."""
    return f"--repair {repair} (REPAIR={repair})"


def repaired(placed: Placed, repairs: Collection[str]) -> tuple[Placed, list[str]]:
    """Return the turns after `repairs`, and the repairs that changed them.

    Raises:
        RowFault: two turns to be joined have different weights.
    """
    done = []
    for name, mend in (
        ("join_turns", _joined),
        ("drop_opening", _from_user),
        ("drop_unanswered", _to_answer),
    ):
        if name in repairs:
            before, placed = placed, mend(placed)
            done += [name] * (len(placed) < len(before))
    return placed, done


def _joined(placed: Placed) -> Placed:
    result: Placed = []
    for at, turn in placed:
        last = result[-1][1] if result else None
        if last is None or turn["role"] == "tool" or last["role"] != turn["role"]:  # several tools may answer
            result.append((at, turn))
            continue
        if last.get("weight", 1) != turn.get("weight", 1):
            message = "has a different weight than the previous turn, to which it would be joined."
            raise RowFault(at, message, "rows.bad_weight")
        joined: Turn = {**last, "content": "\n\n".join(filter(None, (last["content"], turn["content"])))}
        if calls := [*last.get("tool_calls", []), *turn.get("tool_calls", [])]:
            joined["tool_calls"] = calls
        result[-1] = (result[-1][0], joined)
    return result


def _from_user(placed: Placed) -> Placed:
    first = next((n for n, (_, turn) in enumerate(placed) if turn["role"] == "user"), len(placed))
    return [pair for n, pair in enumerate(placed) if n >= first or pair[1]["role"] == "system"]


def _to_answer(placed: Placed) -> Placed:
    last = max((n for n, (_, turn) in enumerate(placed) if turn["role"] == "assistant"), default=-1)
    return placed[: last + 1] if last >= 0 else placed
