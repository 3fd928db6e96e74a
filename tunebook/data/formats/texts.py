"""The text of a turn or a field: a value, or a list of text parts."""

from __future__ import annotations

import json
import math
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.meaning.meanings import MEANING_OF
from tunebook.data.formats.values import is_empty, path_of_text, plain_name

TEXT_PARTS = ("text", "input_text", "output_text")  # the last two come from OpenAI's Responses API


def parts(value: Any, at: str) -> str:
    """Return a text that may be given as a list of text parts.

    Raises:
        RowFault: a part is not text, or the whole text is empty.
    """
    if isinstance(value, dict) and isinstance(value.get("parts"), list):  # Gemini's system instruction
        value, at = value["parts"], f"{at}.parts"
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, list):
        value = [_flat_part(part) for part in value]
        for index, part in enumerate(value):
            key = next((key for key in ("text", "value") if isinstance(part, dict) and key in part), None)
            if key is None or part.get("type", "text") not in TEXT_PARTS or not isinstance(part[key], str):
                kind = _kind(part)
                meaning = MEANING_OF.get(plain_name(kind))
                says = f", which {meaning.says}" if meaning else ""
                message = f"only text parts are supported (got type {kind}{says}). {instead_of(kind)}"
                raise RowFault(f"{at}[{index}]", message, "rows.not_text")
        value = "".join(part.get("text", part.get("value")) for part in value)
    return text(value, at)


def _flat_part(part: Any) -> Any:
    """Return a text part without the object around its text: `{"text": {"value": ...}}` (Assistants API)."""
    inside = part.get("text") if isinstance(part, dict) else None
    if isinstance(inside, dict) and isinstance(inside.get("value"), str):
        return {**part, "text": inside["value"]}
    return part


def instead_of(kind: str) -> str:
    """Return what to do with a part of a turn that is not text."""
    plain = plain_name(kind)
    if plain in ("tool_use", "function_call", "tool_call"):
        return "Write a call as `tool_calls` of the turn, and what the tools offer as `tools` of the row."
    if plain in ("tool_result", "function_response", "function_call_output"):
        return "Write a result as a turn of the role tool."
    return "Write it as text, or remove the part."


def _kind(part: Any) -> str:
    if not isinstance(part, dict):
        return got(part)
    return str(part.get("type") or next(iter(part), "?"))


def text(value: Any, at: str) -> str:
    """Return `value` as text without surrounding whitespace; numbers and booleans as in JSON. NaN counts as
    empty, because table libraries write it for an empty cell, and 1.0 becomes 1, because they write a whole
    number that way if another cell of the column is empty.

    Raises:
        RowFault: the value is missing, empty, or not text.
    """
    if isinstance(value, (dict, list)):
        inside = path_of_text(value)
        name = f"a value inside it, such as {at}.{inside}," if inside else "the right column"
        choose = f"Choose {name} with FIELDS=, or drop the row"
        if "[" in at:  # inside a turn, where FIELDS= names nothing
            choose = f"Write the text of {inside} itself" if inside else "Write text"
        message = f"expected text (got {got(value)}). {choose}."
        raise RowFault(at, message, "rows.not_text")
    if is_empty(value):
        raise RowFault(at, "must not be empty.", "rows.empty_text")
    if isinstance(value, float) and math.isinf(value):
        raise RowFault(at, f"expected text or a finite number (got {value}).", "rows.not_text")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    return json.dumps(value) if isinstance(value, bool) else str(value).strip()


def got(value: Any) -> str:
    """Return a value that is no text, for a message."""
    if value is None:
        return "nothing"
    if value == []:
        return "an empty list"
    return {"str": "text", "list": "a list", "dict": "an object"}.get(type(value).__name__, repr(value))
