"""Tool calls of other APIs, brought to OpenAI's form: parts of a turn that are a call or a result.

In: a turn. Out: the turns that it is in OpenAI's form. In Anthropic's API, a call is a part `tool_use` of the
assistant's turn, and a result a part `tool_result` of the user's; in Gemini's, they are parts with
`functionCall` and `functionResponse`.
"""

from __future__ import annotations

import json
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.values import ROLE_KEYS, is_empty

CALLS = ("functionCall", "function_call")
RESULTS = ("functionResponse", "function_response")


def in_openai_form(at: str, item: Any) -> list[tuple[str, Any]]:
    """Return the turn at a place with its calls as `tool_calls`, or its results as turns of the role tool;
    any other turn unchanged.

    Raises:
        RowFault: a turn has a result and text, which have no order; or other calls than these.
    """
    key = None
    if isinstance(item, dict) and not isinstance(item.get("content"), str):
        key = next((key for key in ("content", "parts") if _has_calls(item, key)), None)
    if key is None:
        return [(at, item)]
    calls, results, rest = [], [], []
    for index, part in enumerate(item[key]):
        if (call := _call(part)) is not None:
            calls.append(call)
        elif (result := _result(part)) is not None:
            results.append((f"{at}.{key}[{index}]", {"role": "tool", "content": result}))
        elif not is_empty(part.get("text", part) if isinstance(part, dict) else part):
            rest.append(part)
    if results and (rest or calls):
        message = "has a tool's result and something else. Write the rest as a turn of its own."
        raise RowFault(f"{at}.{key}", message, "rows.not_text")
    if results:
        others = {name: value for name, value in item.items() if name not in (key, *ROLE_KEYS)}
        results[-1][1].update({name: value for name, value in others.items() if name not in results[-1][1]})
        return results
    if (own := item.get("tool_calls")) and _names(own) != [call["name"] for call in calls]:
        message = f"has other calls than `{key}`. Remove those that are not to be learned."
        raise RowFault(f"{at}.tool_calls", message, "rows.two_calls")
    return [(at, {**item, key: rest or "", "tool_calls": calls})]


def _names(calls: Any) -> list[Any]:
    """Return the names of calls in OpenAI's form, or in LangChain's, which has them beside the parts."""
    held = [one.get("function", one) if isinstance(one, dict) else one for one in calls]
    return [one.get("name") if isinstance(one, dict) else None for one in held]


def _has_calls(item: Any, key: str) -> bool:
    parts = item.get(key) if isinstance(item, dict) else None
    return isinstance(parts, list) and any(
        _call(part) is not None or _result(part) is not None for part in parts
    )


def _call(part: Any) -> dict[str, Any] | None:
    if not isinstance(part, dict):
        return None
    if part.get("type") == "tool_use":
        return {"name": part.get("name"), "arguments": part.get("input") or {}}
    call = next((part[name] for name in CALLS if isinstance(part.get(name), dict)), None)
    return None if call is None else {"name": call.get("name"), "arguments": call.get("args") or {}}


def _result(part: Any) -> Any:
    """Return the text, or the parts, of a result; None for any other part."""
    if not isinstance(part, dict):
        return None
    if part.get("type") == "tool_result":
        return part.get("content") or ""
    result = next((part[name] for name in RESULTS if isinstance(part.get(name), dict)), None)
    return None if result is None else json.dumps(result.get("response") or {}, ensure_ascii=False)
