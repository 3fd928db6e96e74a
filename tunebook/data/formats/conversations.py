"""Conversations in the formats of other tools.

In: a list of turns in OpenAI's fine-tuning format (role and content, `weight` 0 or 1 on an assistant turn,
tool calls), in ShareGPT's (from and value) or a similar one. Out: the system prompt and alternating turns
`{role, content}`, plus `weight`, `tool_calls` and `reasoning_content` if a turn has them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, NamedTuple

from tunebook.core.errors import RowFault
from tunebook.data.formats import thoughts
from tunebook.data.formats.calls.hermes import calls_in, result_in
from tunebook.data.formats.calls.other_calls import in_openai_form
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.meaning.meanings import MEANING_OF, WEIGHTS
from tunebook.data.formats.repairs import option, repaired
from tunebook.data.formats.texts import TEXT_PARTS, got, instead_of, parts
from tunebook.data.formats.turn_forms import (
    ROLE_KEYS,
    ROLE_OF,
    TEXT_KEYS,
    Turns,
    from_json,
    turns_of,
    unknown_speakers,
)
from tunebook.data.formats.turn_times import refuse_disorder
from tunebook.data.formats.values import is_empty, plain_name
from tunebook.data.tool_calls import CALLER, calls, follows
from tunebook.runs.rows import Call, Messages, Turn


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
    placed = [(at, _turn(item, at, items, reasoning)) for at, item in said]
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


def _turn(item: Any, at: str, others: list[Any], reasoning: bool = False) -> Turn:
    """Return the turn that `item` describes; `others` are all turns, whose unknown speakers are named."""
    turn: Turn
    if not isinstance(item, dict):
        raise RowFault(at, f"expected a turn with a role and content (got {got(item)}).", "rows.not_a_turn")
    role_key = next((key for key in ROLE_KEYS if key in item), None)
    if role_key is None:
        raise RowFault(at, _no_role(item), "rows.no_role")
    if isinstance(item[role_key], (dict, list)):
        message = "expected the role as text (got an object). Write user, assistant, system or tool."
        raise RowFault(f"{at}.{role_key}", message, "rows.unknown_role")
    name = str(item[role_key]).strip().lower()
    if name not in ROLE_OF:
        close = difflib.get_close_matches(name, ROLE_OF, n=1)
        hint = f"Did you mean {close[0]}? Otherwise say who it is" if close else "Say who it is"
        speakers = unknown_speakers(others)
        message = f'unknown role (got {item[role_key]!r}). {hint}: --roles "{speakers}" (ROLES="{speakers}").'
        raise RowFault(f"{at}.{role_key}", message, "rows.unknown_role")
    text_key = next((key for key in TEXT_KEYS if key in item), None)
    call_key = next((key for key in ("tool_calls", "function_call") if item.get(key)), None)
    thought_key, inside = None, ""
    if reasoning and ROLE_OF[name] == "assistant" and name not in CALLER:
        thought_key = thoughts.field_of(item)
        if text_key and item[text_key]:
            inside, shorter = _thought_in(item[text_key], f"{at}.{text_key}")
            item = {**item, text_key: shorter}
    if name in CALLER and text_key and not call_key:  # in ShareGPT, the text is the call
        turn = {"role": "assistant", "content": "", "tool_calls": calls(item[text_key], f"{at}.{text_key}")}
    elif call_key and (text_key is None or not item[text_key]):
        turn = {"role": ROLE_OF[name], "content": ""}
    elif text_key is None:
        raise RowFault(at, f"has no content. Call the field one of {', '.join(TEXT_KEYS)}.", "rows.no_text")
    else:
        turn = _spoken(ROLE_OF[name], item[text_key], f"{at}.{text_key}")
    if call_key:
        if turn["role"] != "assistant":
            raise RowFault(f"{at}.{call_key}", "only assistant turns can call tools.", "rows.call_by_user")
        turn["tool_calls"] = calls(item[call_key], f"{at}.{call_key}")
    if thought := thoughts.joined(thought_key, inside, item, at):
        turn["reasoning_content"] = thought
    weight_key = _weigh(turn, item, at)
    refuse_unread(item, {role_key, text_key, call_key, weight_key, thought_key}, at=f"{at}.")
    return turn


def _thought_in(value: Any, at: str) -> tuple[str, Any]:
    """Return the reasoning in the text or the parts of a turn, and the text or parts without it."""
    if isinstance(value, list):
        found, rest = thoughts.without_parts(value)
        if found:
            return "\n\n".join(text.strip() for text in found), rest
    content = parts(value, at) if not isinstance(value, list) or all(map(_is_text, value)) else None
    return thoughts.split(content, at) if content is not None else ("", value)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type", "text") in TEXT_PARTS


def _no_role(item: dict[str, Any]) -> str:
    """Return the message about a turn without a role, or about another item between turns (Responses API)."""
    kind = str(item.get("type", ""))
    meaning = MEANING_OF.get(plain_name(kind))
    if meaning or plain_name(kind).startswith(("function_call", "tool")):
        says = f", which {meaning.says}" if meaning else ""
        return f"expected a turn with a role (got an item of type {kind}{says}). {instead_of(kind)}"
    return f"has no role. Call the field one of {', '.join(ROLE_KEYS)}."


def _spoken(role: str, value: Any, at: str) -> Turn:
    """Return a turn from its text or its parts; tool calls in either are converted."""
    made: list[Call] = []
    # LLaMA-Factory's v1 format has parts of type tool_call
    if role == "assistant" and isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, dict) and part.get("type") == "tool_call":
                made += calls(part.get("value"), f"{at}[{index}].value")
        value = [part for part in value if not (isinstance(part, dict) and part.get("type") == "tool_call")]
    if made and not value:
        return {"role": role, "content": "", "tool_calls": made}
    content = parts(value, at)
    if role == "tool":
        content = result_in(content)
    elif role == "assistant" and not made and (found := calls_in(content)):
        content, made = found[0], calls(found[1], at)
    turn = Turn(role=role, content=content)
    if made:
        turn["tool_calls"] = made
    return turn


def _weigh(turn: Turn, item: dict[str, Any], at: str) -> str | None:
    """Copy the weight of `item` to `turn`, and return the name of its field."""
    key = next((key for key in WEIGHTS if not is_empty(item.get(key))), None)
    if key is None:
        return None
    weight = item[key]
    if not isinstance(weight, (int, float)) or weight not in (0, 1):
        message = f"expected 0, 1, true or false (got {weight!r})."
        raise RowFault(f"{at}.{key}", message, "rows.bad_weight")
    if turn["role"] == "assistant":
        turn["weight"] = int(weight)
    elif weight:
        message = f"only assistant turns are trained (got {weight!r} on a {turn['role']} turn)."
        raise RowFault(f"{at}.{key}", message, "rows.bad_weight")
    return key
