"""How a field is used, and its line in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Fate = Literal["learned", "used", "not learned"]
EXAMPLE_LENGTH = 24
WIDTH = 80  # columns of the terminal
TITLES: dict[Fate, str] = {"learned": "learned", "used": "only used", "not learned": "NOT LEARNED"}
CHECK_ROOM: dict[Fate, int] = {"learned": 12, "used": 12, "not learned": 12}  # fields of a list


@dataclass
class Use:
    """The use of a field: the number of its non-empty values, the first distinct values, and what they are
    used for.

    `partly` says how many of the values tried are not learned, if only some are (`3 of 8`); the examples are
    then of those. `dropped` is true if `source.drop` names the field.
    """

    path: str
    fate: Fate
    count: int
    examples: list[str]
    partly: str = ""
    dropped: bool = False

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        how = f", {self.partly} values tried are not learned" * bool(self.partly) + ", dropped" * self.dropped
        return f"{self.path} ({self.count}{how}: {shown})"


def example(value: Any) -> str:
    """Return a value on one short line, control characters escaped."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > EXAMPLE_LENGTH:
        text = text[: EXAMPLE_LENGTH - 3] + "..."
    return repr(text) if isinstance(value, str) else text.encode("unicode_escape").decode("ascii")


def field_lines(fields: list[Use], room: Mapping[Fate, int] = CHECK_ROOM) -> list[str]:
    """Return a line for each field under its heading, with its count and two examples; at most `room` per
    heading, plus the names of the rest."""
    name = min(34, max([len(use.path) for use in fields], default=0))
    result = []
    for fate, title in TITLES.items():
        some = [use for use in fields if use.fate == fate]
        most = room[fate] + (len(some) == room[fate] + 1)  # naming one more field takes a line anyway
        for use in some[:most]:
            mark = f" ({use.partly} tried)" * bool(use.partly) + " (DROP)" * use.dropped
            path = use.path if len(use.path) <= name else f"...{use.path[3 - name :]}"
            shown = ", ".join(use.examples)
            result.append(f"{title:<12}{path:<{name}} {use.count:>7}{mark}  {shown}")
            title = ""
        if more := some[most:]:
            result.append(f"{title:<12}and {len(more)} more: {', '.join(use.path for use in more)}")
        if not some and fate == "not learned":
            result.append(f"{title:<12}nothing: every field is used")
    return [_cut(f"{'' if number else 'fields':<10}{line}") for number, line in enumerate(result)]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
