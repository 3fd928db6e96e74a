"""Single values and names of fields: tests of them, and options that keep rows by them."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def plain_name(name: str) -> str:
    """Return a field's name in lower case with underscores: `system_instruction`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name)
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def is_empty(value: Any) -> bool:
    """Return whether a value is empty: null, NaN, whitespace, an empty list or object."""
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def is_true(value: Any) -> bool:
    """Return whether a value is true, also in the notation of a table."""
    return value in (True, 1) or (isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"))


def is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")


def kept_where(name: str, value: Any) -> str:
    """Return the option that keeps the rows in which `name` is true; `value` is its value in a bad row."""
    kept = {"false": "true", "0": "1", "no": "yes", "reject": "accept", "ignore": "accept"}
    test = f"{name} == {kept.get(value, 'True')!r}" if isinstance(value, str) else name
    return _where(test)


def _where(test: str) -> str:
    return f'--where "{test}" (WHERE="{test}")'


def options_for(name: str, value: Any) -> dict[str, str]:
    """Return the options that `instead` of a Meaning may name, for the `value` of a bad row."""
    number = f"{name}|float" if isinstance(value, str) else name
    by_words = isinstance(value, str) and not NUMBER.fullmatch(value.strip())
    return {
        "where": kept_where(name, value),
        "without": _where(f"{name} != {value!r}" if isinstance(value, str) else f"not {name}"),
        "good": _where(f"{name} == '...'" if by_words else f"{number} >= 4"),
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

    def texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
        if isinstance(value, str):
            yield len(value), path
        for key, item in value.items() if isinstance(value, dict) else ():
            yield from texts(item, (*path, str(key)))
        for item in value if isinstance(value, list) else ():
            yield from texts(item, path)

    found = max(texts(value, ()), default=(0, ()), key=lambda one: one[0])
    return ".".join(found[1]) or None
