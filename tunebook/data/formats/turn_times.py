"""Times of turns: exports of chat tools often have the newest message first."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

NAMES = "created_at timestamp date datetime time create_time created sent_at ts".split()
ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def newest_first(items: list[Any]) -> str | None:
    """Return the field by which every turn is older than the one before it, or None."""
    if len(items) < 2 or not all(isinstance(item, dict) for item in items):
        return None
    for name in NAMES:
        times = [item.get(name) for item in items]
        comparable = all(isinstance(time, str) and ISO.match(time) for time in times) or all(
            isinstance(time, (int, float)) and not isinstance(time, bool) for time in times
        )
        if comparable and all(later < earlier for earlier, later in pairwise(times)):
            return name
    return None
