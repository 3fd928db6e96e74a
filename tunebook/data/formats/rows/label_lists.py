"""Labels written as a list: a list of one is read, a list of several is refused.

In: the value of a label column: a list, or a text that contains one, as in tables (`['a', 'b']`, `{'a',
'b'}`, `["a"]`, numpy's `['a' 'b']`, `[a, b]`, `{"a": 1, "b": 0}`, `{"choices": ["a"]}`). Out: the label.
"""

from __future__ import annotations

import ast
import contextlib
import re
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.core.files import from_json
from tunebook.data.formats.values import variable

BRACKETS = {"[": "]", "{": "}", "(": ")"}
NUMPY_TEXT = re.compile(r"""['"]([^'"]*)['"]""")
NUMPY = re.compile(r"""\[\s*(['"][^'"]*['"])(\s+['"][^'"]*['"])+\s*\]""")


def listed(value: Any) -> list[Any] | None:
    """Return a list of labels, or None if the value is no list. Of an object of 0 and 1, return the keys with
    1."""
    if isinstance(value, str):
        value = _read(value.strip())
    if isinstance(value, dict) and [*value] == ["choices"] and isinstance(value["choices"], list):
        value = value["choices"]  # Label Studio's CSV and JSON-MIN
    if isinstance(value, dict) and len(value) > 1 and all(isinstance(one, float) for one in value.values()):
        return [*value]  # a share of each label
    if isinstance(value, dict) and value and all(number in (0, 1) for number in value.values()):
        return [name for name, number in value.items() if number]
    if isinstance(value, (tuple, set, frozenset)):
        value = sorted(value, key=str)
    plain = isinstance(value, list) and not any(isinstance(one, (dict, list, tuple)) for one in value)
    return value if plain else None


def quoted_list(text: str) -> list[str] | None:
    """Return the texts in a list in Python's or numpy's notation, as tables contain it, or None for any other
    text."""
    if text.strip()[:1] != "[":
        return None
    with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = (
            re.findall(NUMPY_TEXT, text) if NUMPY.fullmatch(text.strip()) else ast.literal_eval(text.strip())
        )
        return found if all(isinstance(one, str) for one in found) else None
    return None


def one_label(value: Any, at: str) -> Any:
    """Return the label in a list of one; return any other value unchanged.

    Raises:
        RowFault: the list has several labels, or none.
    """
    found = listed(value)
    if found is None:
        return value
    if len(found) == 1:
        return found[0]
    if not found:
        return None
    first, only = str(found[0]), ""
    if isinstance(value, list):
        kept = f"{variable(at.split('.'))}|length == 1"
        only = f', or the rows of one label: --where "{kept}" (WHERE="{kept}")'
    message = (
        f"has {len(found)} labels ({found!r:.80}), but only one label per row can be learned. Keep one, such "
        f"as {first!r}{only}, or make a yes/no column for each label, and fork once for each column."
    )
    raise RowFault(at, message, "labels.several_in_one")


def _read(text: str) -> Any:
    """Return the content of a text in brackets, or None if the text is a label."""
    if BRACKETS.get(text[:1]) != text[-1:] or len(text) < 2:
        return None
    if NUMPY.fullmatch(text):
        return re.findall(NUMPY_TEXT, text)
    for read in (from_json, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    inside = [part.strip() for part in text[1:-1].split(",")]
    return inside if len(inside) > 1 and all(inside) else None  # [a, b], without quotes
