"""Conversations in the formats of other tools.

In: a list of turns in OpenAI's fine-tuning format (role and content, `weight` 0 or 1 on an assistant turn,
tool calls), in ShareGPT's (from and value) or a relative of them. Out: the system prompt and alternating
turns `{role, content}`, with `weight` and `tool_calls` where a turn has them.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.fields import WEIGHTS, is_empty, refuse_unread
from tunebook.data.tool_calls import ANSWERER, CALLER, calls, follows

ROLES = {
    "system": "system developer",
    "user": "user human prompter customer person instruction input question",
    "assistant": "assistant gpt bot model ai chatbot chatgpt bing bard agent response output answer",
}
ROLE_OF = {word: role for role, words in ROLES.items() for word in words.split()}
ROLE_OF |= dict.fromkeys(CALLER, "assistant") | dict.fromkeys(ANSWERER, "tool")
ROLE_KEYS, TEXT_KEYS = ("role", "from", "speaker"), ("content", "value", "text")


def conversation(value: Any, field: str, answered: bool) -> tuple[str, list[dict[str, Any]]]:
    """Return the system prompt ("" without one) and the turns of a conversation.

    Turns after the last one with weight 1 are removed, because nothing would be trained on them.

    Args:
        value: the content of the row's `field`.
        answered: the last turn must be from the assistant.

    Raises:
        RowFault: the conversation is not valid; names the place below `field`.
    """
    value = from_json(value, field)
    if not isinstance(value, list) or not value:
        raise RowFault(field, f"expected a list of turns (got {_got(value)}).", "rows.not_turns")
    system, turns = "", list[dict[str, Any]]()
    for index, item in enumerate(value):
        turn = _turn(item, f"{field}[{index}]")
        if turn["role"] == "system":
            if index:
                raise RowFault(
                    f"{field}[{index}]", "only the first turn may be a system turn.", "rows.system_not_first"
                )
            system = turn["content"]
            continue
        expected = follows(turns)
        if turn["role"] not in expected:
            message = f"expected role {' or '.join(expected)} (got {turn['role']}); turns must alternate."
            raise RowFault(f"{field}[{index}]", message, "rows.turn_order")
        turns.append(turn)
    if not turns:
        raise RowFault(field, "has no user turn.", "rows.no_user_turn")
    if answered and turns[-1]["role"] != "assistant":
        raise RowFault(
            f"{field}[{len(value) - 1}]", "the last turn must be from the assistant.", "rows.last_turn"
        )
    return system, _weighted(turns, field) if answered else turns


def _weighted(turns: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    """Give every assistant turn a weight if one has it, and remove the turns after the last trained one."""
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


def _turn(item: Any, at: str) -> dict[str, Any]:
    turn: dict[str, Any]
    if not isinstance(item, dict):
        raise RowFault(at, f"expected a turn with a role and content (got {_got(item)}).", "rows.not_a_turn")
    role_key = next((key for key in ROLE_KEYS if key in item), None)
    if role_key is None:
        raise RowFault(at, f"has no role. Name the field one of {', '.join(ROLE_KEYS)}.", "rows.no_role")
    name = str(item[role_key]).strip().lower()
    if name not in ROLE_OF:
        close = difflib.get_close_matches(name, ROLE_OF, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(ROLE_OF)}."
        raise RowFault(
            f"{at}.{role_key}", f"unknown role (got {item[role_key]!r}). {hint}", "rows.unknown_role"
        )
    text_key = next((key for key in TEXT_KEYS if key in item), None)
    call_key = next((key for key in ("tool_calls", "function_call") if item.get(key)), None)
    if name in CALLER and text_key and not call_key:  # in ShareGPT, the text is the call
        turn = {"role": "assistant", "content": "", "tool_calls": calls(item[text_key], f"{at}.{text_key}")}
    elif call_key and (text_key is None or not item[text_key]):
        turn = {"role": ROLE_OF[name], "content": ""}
    elif text_key is None:
        raise RowFault(at, f"has no content. Name the field one of {', '.join(TEXT_KEYS)}.", "rows.no_text")
    else:
        turn = {"role": ROLE_OF[name], "content": _parts(item[text_key], f"{at}.{text_key}")}
    if call_key:
        if turn["role"] != "assistant":
            raise RowFault(f"{at}.{call_key}", "only assistant turns can call tools.", "rows.call_by_user")
        turn["tool_calls"] = calls(item[call_key], f"{at}.{call_key}")
    weight_key = _weigh(turn, item, at)
    refuse_unread(item, {role_key, text_key, call_key, weight_key}, at=f"{at}.")
    return turn


def _weigh(turn: dict[str, Any], item: dict[str, Any], at: str) -> str | None:
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


def from_json(value: Any, at: str) -> Any:
    """Return the list or object in a JSON text, as tables hold them; any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            message = f"starts like JSON but is not valid JSON ({error.msg} at character {error.pos})."
            raise RowFault(at, message, "rows.field_not_json") from None
    return value


def turns_in(value: Any) -> Any:
    """Return the turn or the turns in a JSON text; any other value unchanged, also a text that only starts
    like JSON: an answer may be JSON, and a prompt may start with a bracket."""
    try:
        read = from_json(value, "")
    except RowFault:
        return value
    first = read[0] if isinstance(read, list) and read else read
    return read if isinstance(first, dict) and any(key in first for key in ROLE_KEYS) else value


def _parts(value: Any, at: str) -> str:
    """Return the text of a turn, which may be a list of text parts."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            key = next((key for key in ("text", "value") if isinstance(part, dict) and key in part), None)
            if key is None or part.get("type", "text") != "text" or not isinstance(part[key], str):
                kind = part.get("type", "?") if isinstance(part, dict) else _got(part)
                message = f"only text parts are supported (got type {kind})."
                raise RowFault(f"{at}[{index}]", message, "rows.not_text")
        value = "".join(part.get("text", part.get("value")) for part in value)
    return text(value, at)


def text(value: Any, at: str) -> str:
    """Return `value` as text without whitespace around it; numbers and booleans as in JSON. NaN counts as
    empty, because table libraries write it for an empty cell.

    Raises:
        RowFault: the value is missing, empty, or not text.
    """
    if isinstance(value, (dict, list)):
        raise RowFault(at, f"expected text (got {_got(value)}).", "rows.not_text")
    if is_empty(value):
        raise RowFault(at, "must not be empty.", "rows.empty_text")
    if isinstance(value, float) and math.isinf(value):
        raise RowFault(at, f"expected text or a finite number (got {value}).", "rows.not_text")
    return json.dumps(value) if isinstance(value, bool) else str(value).strip()


def transcript(value: str) -> list[dict[str, str]]:
    """Split `Human: ... Assistant: ...` paragraphs (the format of Anthropic's hh-rlhf) into turns."""
    pieces = re.split(r"(?:^|\n\n)(Human|Assistant): ?", value)
    return [
        {"role": "user" if role == "Human" else "assistant", "content": content}
        for role, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def _got(value: Any) -> str:
    if value is None:
        return "nothing"
    if value == []:
        return "an empty list"
    return {"str": "text", "list": "a list", "dict": "an object"}.get(type(value).__name__, repr(value))
