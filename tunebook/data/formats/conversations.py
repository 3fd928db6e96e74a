"""Conversations in the formats of other tools.

In: a list of turns in OpenAI's fine-tuning format (role and content, `weight` 0 or 1 on an assistant turn,
tool calls), in ShareGPT's (from and value) or a similar one. Out: the system prompt and alternating turns
`{role, content}`, plus `weight`, `tool_calls` and `reasoning_content` if a turn has them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from tunebook.core.errors import RowFault
from tunebook.data.formats.calls.other_calls import in_openai_form
from tunebook.data.formats.one_turn import turn_of
from tunebook.data.formats.repairs import option, repaired
from tunebook.data.formats.texts import got
from tunebook.data.formats.turn_forms import ROLE_KEYS, ROLE_OF, TEXT_KEYS, Turns, from_json, turns_of
from tunebook.data.formats.turn_times import refuse_disorder
from tunebook.data.formats.values import is_empty
from tunebook.data.tool_calls import follows
from tunebook.runs.rows import Messages


class Conversation(NamedTuple):
    """The system prompt ("" without one), the turns, and the repairs that changed them."""

    system: str
    turns: Messages
    repairs: list[str]


def conversation(value: Any, field: str, answered: bool, reasoning: bool = False) -> tuple[str, Messages]:
    """Return the system prompt ("" without one) and the turns; see `repaired_conversation`."""
    return repaired_conversation(value, field, answered, reasoning=reasoning)[:2]


def repaired_conversation(
    value: Any, field: str, answered: bool, repairs: Collection[str] = (), reasoning: bool = False
) -> Conversation:
    """Return the system prompt and the turns of a conversation.

    Turns after the last one with weight 1 are removed, because nothing would be trained on them.

    Args:
        value: the content of the row's `field`, in any form of turn_forms.py, or turns with their places.
        answered: the last turn must be from the assistant.
        repairs: permitted changes to make the turns alternate (repairs.py).
        reasoning: read the reasoning of assistant turns (thoughts.py).

    Raises:
        RowFault: the conversation is invalid; the message names the place below `field`.
    """
    if not isinstance(value, Turns):
        value = from_json(value, field)
    found = value if isinstance(value, Turns) else turns_of(value, field)
    if found is None or not found.placed:
        raise RowFault(field, f"expected a list of turns (got {got(value)}).", "rows.not_turns")
    refuse_disorder(found.placed, field)
    found = Turns([turn for at, item in found.placed for turn in in_openai_form(at, item)], found.assumed)
    items = [item for _, item in found.placed]
    said = [(at, item) for at, item in found.placed if not _is_empty_system(item)]
    placed = [(at, turn_of(item, at, items, reasoning)) for at, item in said]
    placed, done = repaired(placed, repairs if answered else set(repairs) - {"drop_unanswered"})
    system, turns = "", Messages()
    for index, (at, turn) in enumerate(placed):
        if turn["role"] == "system":
            if index:
                message = "only the first turn may be a system turn. Move the text there, or remove the turn."
                raise RowFault(at, message, "rows.system_not_first")
            system = turn["content"]
            continue
        if turn["role"] not in (expected := follows(turns)):
            raise _out_of_turn(turn["role"], turns, at, expected, _role_in(found, at))
        turns.append(turn)
    if not turns:
        raise RowFault(field, "has no user turn.", "rows.no_user_turn")
    if answered and turns[-1]["role"] != "assistant":
        message = (
            "the last turn must be from the assistant. Remove this turn, or drop everything after the last "
            f"answer with {option('drop_unanswered')}."
        )
        raise RowFault(placed[-1][0], message, "rows.last_turn")
    return Conversation(system, _weighted(turns, field) if answered else turns, done)


def _role_in(found: Turns, at: str) -> str:
    """Return the role of the turn at a place as the file has it."""
    item = next((item for place, item in found.placed if place == at), None)
    return (
        next((str(item[key]) for key in ROLE_KEYS if key in item), "tool") if isinstance(item, dict) else ""
    )


def _is_empty_system(item: Any) -> bool:
    """Return whether a turn is the empty system prompt that many exports write if there is none."""
    if not isinstance(item, dict) or item.get("role") in ("user", "assistant"):
        return False
    role = next((item[key] for key in ROLE_KEYS if key in item), None)
    if role is None or ROLE_OF.get(str(role).strip().lower()) != "system":
        return False
    return all(is_empty(item[key]) for key in TEXT_KEYS if key in item)


def _out_of_turn(role: str, turns: Messages, at: str, expected: tuple[str, ...], name: str) -> RowFault:
    """Return the fault of a turn whose role is not allowed after `turns`; `name` is its role in the file."""
    if role == "assistant" and not turns:
        message = (
            f"the assistant speaks first. Drop its first turns with {option('drop_opening')}, or move their "
            "text into the system prompt."
        )
        return RowFault(at, message, "rows.turn_order")
    if turns and role == turns[-1]["role"]:
        message = (
            f"a second {role} turn in a row. Join them with {option('join_turns')}, or correct the role."
        )
        return RowFault(at, message, "rows.turn_order")
    if role == "tool":
        message = (
            "a tool's result, but the turn before it calls no tool. If its text is the call, results may be "
            'read as user turns: --roles "{name}=user" (ROLES="{name}=user").'
        )
        return RowFault(at, message.replace("{name}", name), "rows.turn_order")
    message = f"expected role {' or '.join(expected)} (got {role}); turns must alternate."
    return RowFault(at, message, "rows.turn_order")


def _weighted(turns: Messages, field: str) -> Messages:
    """Give every assistant turn a weight if one of them has it, and remove the turns after the last trained
    one."""
    if not any("weight" in turn for turn in turns):
        return turns
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    for turn in answers:
        turn.setdefault("weight", 1)
    if not any(turn["weight"] for turn in answers):
        message = "every assistant turn has weight 0, so nothing would be trained."
        raise RowFault(field, message, "rows.nothing_trained")
    while not turns[-1].get("weight"):
        del turns[-1]
    return turns
