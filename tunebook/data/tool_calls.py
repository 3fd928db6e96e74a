"""Calls of tools in a conversation: read as people write them, written for templates, found in answers.

A rendered row holds its tools as one JSON text and the arguments of each call as another, because the columns
of a table cannot hold objects of different fields. Axolotl and tunebook/data/prompt.py read both back.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tunebook.core.errors import RowFault

Turn = dict[str, Any]
CALLER, ANSWERER = ("function_call", "tool_call"), ("tool", "function", "observation", "function_response")
ARGUMENTS = ("arguments", "parameters")  # Llama's templates write the second


def follows(turns: list[Turn]) -> tuple[str, ...]:
    """Return the roles that may come after `turns`."""
    if not turns:
        return ("user",)
    if turns[-1]["role"] == "user":
        return ("assistant",)
    if turns[-1]["role"] == "tool":
        return ("tool", "assistant")
    return ("tool",) if turns[-1].get("tool_calls") else ("user",)


def offered(value: Any, at: str) -> list[dict[str, Any]]:
    """Return the tools of a row as templates read them: `{type: function, function: {name, ...}}`.

    Args:
        value: a list of those, of bare functions (OpenAI's `functions`), or the JSON text of either.

    Raises:
        RowFault: a tool without a name, or none of these.
    """
    value = _loaded(value, at)
    if not isinstance(value, list):
        raise RowFault(at, "expected a list of tools, or its JSON text.", "rows.bad_tools")
    found = []
    for index, tool in enumerate(value):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(f"{at}[{index}]", "expected a tool with a name.", "rows.tool_without_name")
        found.append({"type": "function", "function": function})
    return found


def calls(value: Any, at: str) -> list[dict[str, Any]]:
    """Return the calls of an assistant's turn: `{type: function, function: {name, arguments: JSON text}}`.

    Args:
        value: `tool_calls`, one call, or the JSON text of either; ids are left out, no template writes them.

    Raises:
        RowFault: a call without a name, or arguments that are no JSON object.
    """
    value = _loaded(value, at)
    found = []
    for index, call in enumerate(value if isinstance(value, list) else [value]):
        here = f"{at}[{index}]" if isinstance(value, list) else at
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(here, "expected a call with the name of a tool.", "rows.call_without_name")
        arguments = _loaded(function.get("arguments") or {}, f"{here}.arguments")
        if not isinstance(arguments, dict):
            raise RowFault(f"{here}.arguments", "expected an object, or its JSON text.", "rows.bad_arguments")
        arguments = json.dumps(arguments, ensure_ascii=False)
        found.append({"type": "function", "function": {"name": function["name"], "arguments": arguments}})
    return found


def _loaded(value: Any, at: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        text = f"not JSON: {error.msg} at character {error.pos}."
        raise RowFault(at, text, "rows.field_not_json") from None


def for_template(messages: list[Turn]) -> list[Turn]:
    """Return `messages` with the arguments of calls as objects, as Axolotl gives them to a template."""
    return [
        {**turn, "tool_calls": [_with_object(call) for call in turn["tool_calls"]]}
        if turn.get("tool_calls")
        else turn
        for turn in messages
    ]


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["function"]["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return {**call, "function": {**call["function"], "arguments": arguments}}


def written(turn: Turn) -> str:
    """Return what a turn says: its text and a line of JSON for each call, whatever a template makes of it."""
    lines = [turn["content"]] if turn["content"] else []
    for call in map(_with_object, turn.get("tool_calls") or []):
        said = {key: call["function"][key] for key in ("name", "arguments")}
        lines.append(json.dumps(said, ensure_ascii=False))
    return "\n".join(lines)


def texts(row: dict[str, Any]) -> list[str]:
    """Return what a rendered row holds for a template to write: its turns, and the tools it offers."""
    return [*map(written, row["messages"]), *([row["tools"]] if row.get("tools") else [])]


def called(text: str) -> list[dict[str, Any]]:
    """Return the calls in an answer, `{name, arguments}`: every JSON object with a name and arguments (alone,
    or in a list), between whatever marks a model's template puts around it."""
    found, decoder, start = [], json.JSONDecoder(), 0
    while (at := min((i for i in (text.find(mark, start) for mark in "{[") if i >= 0), default=-1)) >= 0:
        try:
            value, start = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            start = at + 1
            continue
        for item in value if isinstance(value, list) else [value]:
            key = next((key for key in ARGUMENTS if isinstance(item, dict) and key in item), None)
            if key and isinstance(item.get("name"), str):
                found.append({"name": item["name"], "arguments": item[key]})
    return found


def calls_met(turn: Turn, text: str) -> float:
    """Return 1 where an answer calls what the reference turn calls, in any order: names and arguments equal.
    A turn that calls nothing wants an answer that calls nothing."""

    def sorted_calls(some: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(call, sort_keys=True) for call in some)

    return float(sorted_calls(called(written({**turn, "content": ""}))) == sorted_calls(called(text)))


def kept(row: dict[str, Any], text: str) -> bool:
    """Return whether what a template made of a row names each tool as often as it is offered and called."""
    names = [tool["function"]["name"] for tool in json.loads(row.get("tools") or "[]")]
    names += [call["function"]["name"] for turn in row["messages"] for call in turn.get("tool_calls") or []]
    return all(text.count(name) >= times for name, times in Counter(names).items())
