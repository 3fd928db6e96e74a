"""The values inside a raw row, each with its path, and copies of a row with one value changed.

In: a row as returned by a reader; tables store lists and objects as JSON text, which is parsed. Out: paths
such as `messages[].content`, where `[]` stands for any index of a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from tunebook.core.errors import RowFault
from tunebook.core.files import from_json
from tunebook.data.formats.fields import unread
from tunebook.data.formats.meaning.meaning_of import meaning_in
from tunebook.data.formats.meaning.meanings import WEIGHTS
from tunebook.data.formats.values import ROLE_KEYS, is_empty, python_value

AS_JSON = "as JSON"  # a step of `Leaf.at` into the object or list in a JSON text
GONE = object()
IN_TOOLS = {"tools", "functions", "tool_calls", "function_call", "functionCall", "arguments", "parameters"}
Step = str | int | tuple[str]  # a key, an index of a list, or (AS_JSON,)


class Leaf(NamedTuple):
    """A non-empty value of a row: its path, the steps that lead to it, and the value."""

    path: str
    at: tuple[Step, ...]
    value: Any


def leaves(value: Any, whole: Collection[str] = ()) -> list[Leaf]:
    """Return each text, number and boolean inside `value`; paths in `whole` are not opened."""
    found: list[Leaf] = []

    def walk(value: Any, path: str, at: tuple[Step, ...]) -> None:
        if isinstance(value, dict) and path not in whole:
            for key, item in value.items():
                walk(item, f"{path}.{key}" if path else str(key), (*at, key))
        elif isinstance(value, list) and path not in whole:
            for index, item in enumerate(value):
                walk(item, f"{path}[]", (*at, index))
        elif (held := held_json(value)) is not None and path not in whole:
            walk(held, path, (*at, (AS_JSON,)))
        elif not is_empty(value):
            found.append(Leaf(path, at, value))

    walk(value, "", ())
    return found


def objects(value: Any, path: str = "", at: tuple[Step, ...] = ()) -> Iterator[Leaf]:
    """Yield each object inside `value`, outer objects first."""
    if isinstance(value, dict):
        yield Leaf(path, at, value)
        for key, item in value.items():
            yield from objects(item, f"{path}.{key}" if path else str(key), (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, f"{path}[]", (*at, index))
    elif (held := held_json(value)) is not None:
        yield from objects(held, path, (*at, (AS_JSON,)))


def held_json(value: Any) -> Any:
    """Return the object or the list of objects in a JSON text, or in Python's notation, or None for any other
    value."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return None
    try:
        held = from_json(value)
    except ValueError:
        held = python_value(value)
    objects = held if isinstance(held, list) else [held]
    return held if objects and all(isinstance(item, dict) for item in objects) else None


def changed(value: Any, at: tuple[Step, ...], new: Any) -> Any:
    """Return a copy of `value` with `new` at the steps `at`; if `new` is GONE, without that key."""
    if not at:
        return new
    step, rest = at[0], at[1:]
    if isinstance(step, tuple):
        return json.dumps(changed(held_json(value), rest, new), ensure_ascii=False)
    copy = value.copy()
    if new is GONE and not rest:
        del copy[step]
    else:
        copy[step] = changed(value.get(step) if isinstance(value, dict) else value[step], rest, new)
    return copy


def place(at: tuple[Step, ...]) -> str:
    """Return the exact place of a value, as shown in messages: `messages[3].content`."""
    text = ""
    for step in at:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, str):
            text += f".{step}" if text else step
    return text


def without_fields(value: Any, names: Collection[str], path: str = "") -> Any:
    """Return `value` without the fields in `names`: a bare name is removed from the row and the objects
    inside it, except from tools and the arguments of calls; a dotted name (`meta.score`) is removed at that
    path only.
    """
    if isinstance(value, dict) and value.get("type") == "tool_use":
        return value
    if isinstance(value, dict):
        result = {}
        for key, item in value.items():
            here = f"{path}.{key}" if path else str(key)
            if here in names or (key in names and not IN_TOOLS.intersection(path.split("."))):
                continue
            result[key] = without_fields(item, names, here)
        return result
    if isinstance(value, list):
        return [without_fields(item, names, path) for item in value]
    held = held_json(value)
    if held is None:
        return value
    first = held[0] if isinstance(held, list) else held
    if not (any(key in first for key in ROLE_KEYS) or any(name.startswith(f"{path}.") for name in names)):
        return value  # a text that is itself JSON, such as an answer
    return json.dumps(without_fields(held, names, path), ensure_ascii=False)


def without_steps(row: Any, fields: list[tuple[str, ...]]) -> Any:
    """Return a row without the fields at the given keys, which `where` has used."""
    for steps in fields:
        if isinstance(row, dict) and steps[0] in row:
            rest = {key: value for key, value in row.items() if key != steps[0]}
            inside = without_steps(row[steps[0]], [steps[1:]]) if len(steps) > 1 else None
            row = {**rest, steps[0]: inside} if len(steps) > 1 else rest
    return row


def refuse_ignored(
    row: dict[str, Any],
    read: Callable[[dict[str, Any]], Any],
    top: bool,
    picked: Collection[str] = (),
    answers: bool = True,
) -> None:
    """Raise for a field that changes what a row means (fields.py) but that nothing reads: without the field,
    the row renders the same.

    Args:
        read: renders a row; raises RowFault for an invalid one.
        top: also check the row's own fields, which most layouts do themselves.
        picked: dotted paths that are read under their own name (picked.py).
        answers: an answer is learned, not only a label.

    Raises:
        RowFault: there is such a field, at any depth; the message names the option that drops it.
    """
    try:
        if not _has_meant(row, answers, top):
            return
    except RecursionError:
        raise RowFault("", "nested too deeply.", "rows.nested_too_deeply") from None
    base: Any = GONE
    for _, at, item in objects(row):
        for key, value in item.items() if at or top else ():
            meaning = meaning_in(key, value, answers)
            if meaning is None:
                continue
            if key == "rank" and "replies" in item:
                continue  # chooses the best path in a tree of messages
            if not top and key in WEIGHTS and any(name in item for name in ROLE_KEYS):
                continue  # fields of a turn, read or refused by conversations.py
            base = read(row) if base is GONE else base
            try:
                same = read(changed(row, (*at, key), GONE)) == base
            except RowFault:
                continue
            steps = [step for step in (*at, key) if isinstance(step, str)]
            if same and ".".join(steps) not in picked and not _is_said(value, base):
                raise unread(meaning, place((*at, key)), steps, value)


def _is_said(value: Any, made: Any) -> bool:
    """Return whether a value is the reasoning of a turn in the rows `made`: written in a field and in the
    text, it is read once."""
    turns = [turn for row in made if isinstance(row, dict) for turn in row.get("turns") or []]
    return isinstance(value, str) and any(turn.get("reasoning_content") == value.strip() for turn in turns)


def _has_meant(value: Any, answers: bool, here: bool = True) -> bool:
    """Return whether an object inside `value`, or `value` itself with `here`, has a field with a meaning."""
    if isinstance(value, dict):
        for key, item in value.items():
            if here and meaning_in(key, item, answers) is not None:
                return True
            if isinstance(item, str):
                if not item[:1].isalnum() and _has_meant(item, answers):  # a letter starts no JSON
                    return True
            elif isinstance(item, (dict, list)) and _has_meant(item, answers):
                return True
        return False
    if isinstance(value, list):
        return any(_has_meant(item, answers) for item in value)
    return (held := held_json(value)) is not None and _has_meant(held, answers)
