"""Times of turns: exports of chat tools often have the newest message first."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

NAMES = "created_at timestamp date datetime time create_time created sent_at ts".split()
NUMBER = re.compile(r"\d+(\.\d+)?")  # seconds since 1970, in Slack's exports as text
ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def newest_first(items: list[Any]) -> str | None:
    """Return the field by which every turn is older than the one before it, or None."""
    if len(items) < 2 or not all(isinstance(item, dict) for item in items):
        return None
    for name in NAMES:
        times: list[Any] = [_time(item.get(name)) for item in items]
        comparable = None not in times and len({type(time) for time in times}) == 1
        if comparable and all(later < earlier for earlier, later in pairwise(times)):
            return name
    return None


def _time(value: Any) -> str | float | None:
    """Return a time as it can be compared, None for anything else."""
    if isinstance(value, str):
        if NUMBER.fullmatch(value.strip()):
            return float(value)
        return value if ISO.match(value) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
