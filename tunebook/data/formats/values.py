"""Single values and names of fields: tests of them, and options that keep rows by them."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
PLAIN = re.compile(r"[^\s'\"\\$`!,]+")  # a name that needs no quotes in an option
VARIABLE = re.compile(r"[A-Za-z_]\w*")
NO = frozenset("false no 0 n off".split())
RESERVED = frozenset("and or not in is if else true false none True False None".split())
SPOKEN = ("content", "value", "text", "parts")
ROLE_KEYS = ("role", "from", "speaker", "author", "sender")


@lru_cache(10_000)
def plain_name(name: str) -> str:
    """Return a field's name in lower case with underscores: `system_instruction`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()


def is_empty(value: Any) -> bool:
    """Return whether a value is empty: null, NaN, whitespace, an empty list or object."""
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def is_true(value: Any) -> bool:
    """Return whether a value is true, also in the notation of a table."""
    return value in (True, 1) or (isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"))


def is_no(value: Any) -> bool:
    """Return whether a value is false, also in the notation of a table."""
    return value is False or value == 0 or (isinstance(value, str) and value.strip().lower() in NO)


def texts_in(value: Any) -> Iterator[str]:
    """Yield each text inside `value` that is not blank."""
    if isinstance(value, str) and value.strip():
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(item)


def are_turns(value: Any) -> bool:
    """Return whether a value is a list of turns, each with its role."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict)
            and any(key in turn for key in ROLE_KEYS)
            and any(key in turn for key in SPOKEN)
            for turn in value
        )
    )


def value_at(value: Any, path: str) -> Any:
    """Return the value at a dotted path through objects, or None."""
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def typed(name: str) -> str:
    """Return a name as it is typed inside FIELDS="...": in quotes if it has a blank, for example."""
    if PLAIN.fullmatch(name):
        return name
    return f"'{name}'" if "'" not in name else '\\"' + name.replace('"', r"\\\"") + '\\"'


def dropped(steps: Sequence[str]) -> str:
    """Return the value of DROP= for the field at `steps`."""
    path = ".".join(steps)
    return path if PLAIN.fullmatch(path) else f'"{typed(path)}"'


def variable(steps: Sequence[str]) -> str:
    """Return the field at `steps` as WHERE= names it: `meta.score`, or `row['Is Deleted']`."""
    if all(VARIABLE.fullmatch(step) for step in steps) and steps[0] not in RESERVED:
        return ".".join(steps)
    return "row" + "".join(f"[{step!r}]" for step in steps)


def kept_where(name: str, value: Any) -> str:
    """Return the option that keeps the rows in which `name` is true; `value` is its value in a bad row."""
    kept = {"false": "true", "0": "1", "no": "yes", "n": "y", "reject": "accept", "ignore": "accept"}
    if not isinstance(value, str):
        return _where(name)
    plain = value.strip()
    other = kept.get(plain.lower(), "True")
    other = other.upper() if plain.isupper() else other.title() if plain.istitle() else other
    return _where(f"{name} == {other!r}")


def _where(test: str) -> str:
    return f'--where "{test}" (WHERE="{test}")'


def options_for(steps: Sequence[str], value: Any) -> dict[str, str]:
    """Return the options that `instead` of a Meaning may name, for the `value` of a bad row at `steps`."""
    while isinstance(value, dict) and value:  # one of several ratings
        key, value = next(iter(value.items()))
        steps = [*steps, str(key)]
    name = variable(steps)
    number = f"{name}|float" if isinstance(value, str) else name
    by_words = isinstance(value, str) and not NUMBER.fullmatch(value.strip())
    return {
        "name": name,
        "where": kept_where(name, value),
        "without": _where(f"{name} != {value!r}" if isinstance(value, str) else f"not {name}"),
        "none": _where(f"not {name}"),
        "good": _where(f"{name} == '...'" if by_words else f"{number} >= 4"),
        "best": _where(f"{name}|int == 1"),
        "sure": _where(f"{name} == '...'" if by_words else f"{number} >= 0.8"),
    }


def python_value(value: str) -> Any:
    """Return the object, or the list of objects or lists, in Python's notation; None for anything else, such
    as a list of words, which may just as well be a text in brackets."""
    try:
        read = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    nested = isinstance(read, list) and read and all(isinstance(item, (dict, list)) for item in read)
    return read if nested or isinstance(read, dict) else None


def path_of_text(value: Any) -> str | None:
    """Return the dotted path of the longest text inside lists and objects, as FIELDS= names it, or None."""

    def texts(
        value: Any, path: tuple[str, ...], listed: bool = False
    ) -> Iterator[tuple[tuple[bool, int], tuple[str, ...]]]:
        if isinstance(value, str):
            yield (not listed, len(value)), path  # a text in a list may be one of several
        elif are_turns(value):
            yield (True, sum(map(len, texts_in(value)))), path
            return
        for key, item in value.items() if isinstance(value, dict) else ():
            yield from texts(item, (*path, str(key)), listed)
        for item in value if isinstance(value, list) else ():
            yield from texts(item, path, True)

    found = max(texts(value, ()), default=((False, 0), ()), key=lambda one: one[0])
    return ".".join(found[1]) or None
