"""Tests of a field's value: does it change what a row means, is it a picture, a sound or a film.

In: a value. Out: True or False.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tunebook.core import words
from tunebook.data.formats.values import is_no, is_true, texts_in

PASSED = frozenset("safe low none false passed success".split())
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
PROSE = 3  # fewest words of a text that is more than a name
# The value is a picture, a sound or a film, whatever the field is called.
FILE = re.compile(
    r"\S+\.(png|jpe?g|webp|gif|bmp|tiff?|heic|mp3|wav|flac|ogg|opus|m4a|mp4|webm|mov|avi|mkv)", re.I
)
LONGEST_FILE = 500
LAST = frozenset("gpfc3vas4miGPFC3VAS4MI")  # last letters of these file types


def is_one(value: Any) -> bool:
    """Return whether a weight equals 1, the default."""
    return value is True or (isinstance(value, (int, float)) and value == 1)


def passed(value: Any) -> bool:
    """Return whether a content filter let an answer pass, that is, whether none of its results reports a
    block."""
    if isinstance(value, dict):
        judged = [is_true(value.get(key)) for key in ("filtered", "detected", "blocked")]
        return not any(judged) and all(map(passed, value.values()))
    if isinstance(value, list):
        return all(map(passed, value))
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return passed(json.loads(value))
        except ValueError:
            return False
    return not isinstance(value, str) or value.strip().lower() in PASSED


def worded(value: Any) -> bool:
    """Return whether a value is text and not a flag, a count or the number of a case (REF-1204)."""
    if isinstance(value, list):
        return any(map(worded, value))
    return isinstance(value, str) and not any(letter.isdigit() for letter in value.partition(" ")[0])


def is_short(value: Any) -> bool:
    """Return whether a value has no text of three words: a mode, a count, a date, the name of a case."""
    return not any(words.count(text) >= PROSE and not text[:1].isdigit() for text in texts_in(value))


def is_no_weight(value: Any) -> bool:
    """Return whether a value is neither a flag nor a number from 0 to below 1: an amount, a text."""
    return not (is_no(value) or (isinstance(value, (int, float)) and not is_true(value) and 0 <= value < 1))


def has_no_tools(value: Any) -> bool:
    """Return whether a value has no objects, as descriptions of tools are: names of tools, a count."""
    if isinstance(value, str):
        return not re.match(r"\s*\[?\s*\{", value)
    return not (isinstance(value, dict) or (isinstance(value, list) and any(map(is_object, value))))


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_mark(value: Any) -> bool:
    """Return whether a value only says that something was done, by whom or when: `edited: true`."""
    if isinstance(value, dict):
        return is_short(value)
    return isinstance(value, bool) or (isinstance(value, str) and TIME.match(value.strip()) is not None)


def is_media(value: Any) -> bool:
    """Return whether a value is a picture, a sound or a film: the path of one, a `data:` URL, or the object
    of bytes and path that `datasets` stores."""
    if isinstance(value, str):
        if not (value[-1:] in LAST or value[:5] == "data:"):
            return False
        if value.startswith(("data:image/", "data:audio/", "data:video/")):
            return True
        return len(value) < LONGEST_FILE and "." in value[-6:] and FILE.fullmatch(value.strip()) is not None
    if isinstance(value, dict):
        return value.keys() == {"bytes", "path"} or value.keys() == {"array", "path", "sampling_rate"}
    return isinstance(value, list) and bool(value) and all(map(is_media, value))
