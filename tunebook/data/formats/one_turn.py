"""One turn of a conversation in the format of another tool: its role, text, tool calls, weight, reasoning."""

from __future__ import annotations

import difflib
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats import thoughts
from tunebook.data.formats.calls.hermes import calls_in, result_in
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.meaning.meanings import MEANING_OF, WEIGHTS
from tunebook.data.formats.texts import TEXT_PARTS, got, instead_of, parts
from tunebook.data.formats.turn_forms import ROLE_KEYS, ROLE_OF, TEXT_KEYS, unknown_speakers
from tunebook.data.formats.values import is_empty, plain_name
from tunebook.data.tool_calls import CALLER, calls
from tunebook.runs.rows import Call, Turn


def turn_of(item: Any, at: str, others: list[Any], reasoning: bool = False) -> Turn:
    """Return the turn that `item` describes.

    Args:
        at: its place in the row, for messages.
        others: all turns of the conversation, whose unknown speakers are named in a message.
        reasoning: read the reasoning of assistant turns (thoughts.py).

    Raises:
        RowFault: it is no turn, or has a field that would not be read.
    """
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
