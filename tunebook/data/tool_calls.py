"""Tool calls in conversations: read from files, written for templates, found in answers.

In: tools and calls in OpenAI's or ShareGPT's format. Out: rendered rows store the tools as one JSON text and
the arguments of each call as another, because table columns cannot hold objects with different fields.
Axolotl and tunebook/data/prompt.py parse both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.core.files import from_json
from tunebook.runs.rows import Call, Messages, RenderedRow, Turn

CALLER = ("function_call", "tool_call", "tool_calls")
CALL_KEYS = {"name", "arguments"}
ANSWERER = tuple(
    "tool function observation function_response tool_response tool_result function_result ipython".split()
)
ARGUMENTS = ("arguments", "parameters")  # Llama's templates use the second name


def follows(turns: Messages) -> tuple[str, ...]:
    """Return the roles that may follow after `turns`."""
    if not turns:
        return ("user",)
    if turns[-1]["role"] == "user":
        return ("assistant",)
    if turns[-1]["role"] == "tool":
        return ("tool", "assistant")
    return ("tool",) if turns[-1].get("tool_calls") else ("user",)


def offered(value: Any, at: str) -> list[dict[str, Any]]:
    """Return the tools of a row in the format that templates expect: `{type: function, function: {name,
    ...}}`.

    Args:
        value: a list of these or of bare functions (OpenAI's `functions`), or the JSON text of either list.

    Raises:
        RowFault: a tool has no name, or `value` is none of these.
    """
    value = _loaded(value, at)
    if not isinstance(value, list):
        raise RowFault(at, "expected a list of tools or its JSON text.", "rows.bad_tools")
    tools = []
    value = [tool for one in value for tool in _declared(one)]
    for index, tool in enumerate(value):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(f"{at}[{index}]", "expected a tool with a name.", "rows.tool_without_name")
        if "input_schema" in function and "parameters" not in function:  # Anthropic's name
            function = {"parameters" if k == "input_schema" else k: v for k, v in function.items()}
        tools.append({"type": "function", "function": function})
    return tools


def _declared(tool: Any) -> list[Any]:
    """Return the functions that one of Gemini's tools declares, or the tool itself."""
    names = ("functionDeclarations", "function_declarations")
    found = next((tool[name] for name in names if name in tool), None) if isinstance(tool, dict) else None
    return found if isinstance(found, list) else [tool]


def calls(value: Any, at: str) -> list[Call]:
    """Return the tool calls of an assistant turn: `{type: function, function: {name, arguments: JSON text}}`.

    Args:
        value: `tool_calls`, one call, or the JSON text of either; ids are dropped, because no template uses
            them.

    Raises:
        RowFault: a call has no name, or its arguments are not a JSON object.
    """
    value = _loaded(value, at)
    result: list[Call] = []
    for index, call in enumerate(value if isinstance(value, list) else [value]):
        here = f"{at}[{index}]" if isinstance(value, list) else at
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(here, "expected a tool call with a name.", "rows.call_without_name")
        arguments = _loaded(function.get("arguments") or {}, f"{here}.arguments")
        if not isinstance(arguments, dict):
            raise RowFault(f"{here}.arguments", "expected an object or its JSON text.", "rows.bad_arguments")
        text = json.dumps(arguments, ensure_ascii=False)
        result.append({"type": "function", "function": {"name": function["name"], "arguments": text}})
    return result


def listed_calls(value: Any) -> list[Any] | None:
    """Return the calls in a list of `{name, arguments}`, or in its JSON text; None for anything else."""
    if isinstance(value, str):
        if value.lstrip()[:1] != "[":
            return None
        try:
            value = from_json(value)
        except ValueError:
            return None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return None
    return value if value and all(CALL_KEYS <= one.keys() <= CALL_KEYS | {"id"} for one in value) else None


def _loaded(value: Any, at: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except json.JSONDecodeError as error:
        text = f"invalid JSON at character {error.pos}: {error.msg}."
        raise RowFault(at, text, "rows.field_not_json") from None
    except ValueError as error:
        raise RowFault(at, f"{error}.", "rows.field_not_json") from None


def for_template(messages: Messages) -> list[Mapping[str, Any]]:
    """Return `messages` with the arguments of calls as objects, as Axolotl passes them to a template."""
    return [
        {**turn, "tool_calls": [_with_object(call) for call in turn["tool_calls"]]}
        if turn.get("tool_calls")
        else turn
        for turn in messages
    ]


def _with_object(call: Call) -> dict[str, Any]:
    arguments: Any = call["function"]["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return {**call, "function": {**call["function"], "arguments": arguments}}


def written(turn: Turn) -> str:
    """Return a turn as text: its content and a JSON line for each call, independent of any template."""
    lines = [turn["content"]] if turn["content"] else []
    for call in map(_with_object, turn.get("tool_calls") or []):
        short = {key: call["function"][key] for key in ("name", "arguments")}
        lines.append(json.dumps(short, ensure_ascii=False))
    return "\n".join(lines)


def texts(row: RenderedRow) -> list[str]:
    """Return the texts of a rendered row: one for each turn, one for the reasoning of each that has it, and
    one for its tools."""
    thoughts = [turn["reasoning_content"] for turn in row["messages"] if turn.get("reasoning_content")]
    return [*map(written, row["messages"]), *thoughts, *([row["tools"]] if row.get("tools") else [])]


def called(text: str) -> list[dict[str, Any]]:
    """Return the calls in an answer as `{name, arguments}`: every JSON object with a name and arguments,
    alone or in a list, ignoring the markers that the model's template puts around it."""
    result, decoder, start = [], json.JSONDecoder(), 0
    while (at := min((i for i in (text.find(mark, start) for mark in "{[") if i >= 0), default=-1)) >= 0:
        try:
            value, start = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            start = at + 1
            continue
        for item in value if isinstance(value, list) else [value]:
            key = next((key for key in ARGUMENTS if isinstance(item, dict) and key in item), None)
            if key and isinstance(item.get("name"), str):
                result.append({"name": item["name"], "arguments": item[key]})
    return result


def calls_met(turn: Turn, text: str) -> float:
    """Return 1 if an answer makes the same calls as the reference turn (names and arguments, in any order),
    otherwise 0. A turn without calls requires an answer without calls."""

    def sorted_calls(some: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(call, sort_keys=True) for call in some)

    return float(sorted_calls(called(written({**turn, "content": ""}))) == sorted_calls(called(text)))


def kept(row: RenderedRow, text: str) -> bool:
    """Return whether the rendered text of a row contains each tool name as often as the tool is offered and
    called."""
    names = [tool["function"]["name"] for tool in json.loads(row.get("tools") or "[]")]
    names += [call["function"]["name"] for turn in row["messages"] for call in turn.get("tool_calls") or []]
    return all(text.count(name) >= times for name, times in Counter(names).items())
