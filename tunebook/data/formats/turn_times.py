"""The order of turns: exports of chat tools often have the newest message first, or several answers to one.

In: turns as a file has them, with their places. Out: a RowFault that names the field by which they are in
another order.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

from tunebook.core.errors import RowFault

NAMES = "created_at timestamp date datetime time create_time created sent_at ts".split()
NUMBER = re.compile(r"\d+(\.\d+)?")  # seconds since 1970, in Slack's exports as text
ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
ZONE = 19  # characters of a date and time to the second; an offset follows
JITTER = 1.0  # seconds that clocks may differ by
ORDERS = "turn_id turn_index turn_number index idx position seq sequence message_index".split()
PARENTS = "parent_id parentId parent_message_id parentMessageId parent".split()


class Disorder(NamedTuple):
    """A field by which turns are in another order; `reverse` if each is older than the one before it."""

    field: str
    reverse: bool


def refuse_disorder(placed: list[tuple[str, Any]], field: str) -> None:
    """Raise if a field of the turns says that they are in another order, or that two are alternatives.

    Raises:
        RowFault: the message names the field.
    """
    items = [item for _, item in placed]
    if other := _disorder(items):
        by = other.field
        ignore = f"if it is wrong, ignore it with --drop {by} (DROP={by})."
        if other.reverse:
            message = f"the turns are ordered from newest to oldest, by {by}. Reverse them, or, {ignore}"
            raise RowFault(field, message, "rows.newest_first")
        raise RowFault(
            field, f"the turns are not in the order of {by}. Sort them, or, {ignore}", "rows.out_of_order"
        )
    if again := _replied_twice(items):
        message = (
            f"answers the same message as a turn before it, by {again[1]}: one of them was written again. "
            "Keep the one that belongs to the conversation."
        )
        raise RowFault(placed[again[0]][0], message, "rows.replied_twice")


def _disorder(items: list[Any]) -> Disorder | None:
    """Return the time or the number by which some turn belongs before the one above it, or None."""
    if len(items) < 2 or not all(isinstance(item, dict) for item in items):
        return None
    first = items[0]
    for name in (*NAMES, *ORDERS):
        if name not in first:
            continue
        places: list[Any] = [_time(item.get(name)) for item in items]
        if None in places or len({type(place) for place in places}) != 1:
            continue
        if all(later < earlier for earlier, later in pairwise(places)):
            return Disorder(name, True)
        if name in ORDERS:
            whole = all(isinstance(place, float) and place.is_integer() for place in places)
            early = whole and any(later < earlier for earlier, later in pairwise(places))
        elif isinstance(places[0], str):
            zones = {re.sub(r"^\.\d+", "", place[ZONE:]) for place in places}
            early = len(zones) == 1 and any(b[:ZONE] < a[:ZONE] for a, b in pairwise(places))
        else:
            early = any(later < earlier - JITTER for earlier, later in pairwise(places))
        if early:
            return Disorder(name, False)
    return None


def _replied_twice(items: list[Any]) -> tuple[int, str] | None:
    """Return the position of a turn that answers the same message as one before it, and the field that says
    so: it was written again, and only one of the two belongs to the conversation."""
    for name in PARENTS:
        if not any(name in item for item in items if isinstance(item, dict)):
            continue
        seen = set()
        for index, item in enumerate(items):
            parent = item.get(name) if isinstance(item, dict) else None
            if isinstance(parent, (str, int)) and parent != "":
                if parent in seen:
                    return index, name
                seen.add(parent)
    return None


def _time(value: Any) -> str | float | None:
    """Return a time as it can be compared, None for anything else."""
    if isinstance(value, str):
        if NUMBER.fullmatch(value.strip()):
            return float(value)
        return value if ISO.match(value) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
