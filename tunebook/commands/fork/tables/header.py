"""Whether the first line of a table is a header or a row.

In: a sample of rows under the names in the first line. Out: nothing, or an error that shows the line and the
options that read it as a row.
"""

from __future__ import annotations

import re
from typing import Any

from tunebook.commands.fork.columns import MOST_LABELS, repeats, wordy
from tunebook.core import words
from tunebook.core.errors import InputError, Problem
from tunebook.data.files.tables import DELIMITED
from tunebook.data.formats.rows.row import Columns, Row

MOST_NAME_WORDS = 4  # maximum length of a column name; a longer text is a sentence
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


FIELDS_OF = {  # in the usual order of columns
    "qa": ("question", "context", "answers"),
    "chat": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
}


def is_table(place: str) -> bool:
    """Return whether the first line of a file contains the column names."""
    return any(kind in place.lower() for kind in (*DELIMITED, ".xlsx"))


def check_header(rows: list[Row], there: list[str], place: str, fields: Columns, task: str | None) -> None:
    """Raise for a table whose first line is a row, not a header: one of the names is a sentence, a number, or
    a value that its own column repeats. A column named by the user counts as a name.

    Raises:
        InputError: the message shows the line as it is and as it should be, and the options that read it as a
            row.
    """
    if not is_table(place):
        return
    for column in set(there) - set(fields.values()):
        name = column.strip()
        repeated = name in {str(row.get(column)) for row in rows}
        if words.count(name) > MOST_NAME_WORDS or NUMBER.fullmatch(name) or repeated:
            usual = FIELDS_OF.get(task or "", ())
            guess = dict(enumerate(usual)) if len(usual) == len(there) else {}
            guess = guess if usual else _guess(rows, there)
            names = [guess.get(n, f"name{n + 1}") for n in range(len(there))]
            fields_guess = " ".join(f"{name}={n + 1}" for n, name in sorted(guess.items()))
            text = (
                (
                    f"the first line of {place} looks like a row ({', '.join(map(repr, there))[:200]}) and "
                    "would be lost as column names. If it is a row: HEADER=none"
                )
                + (f' FIELDS="{fields_guess}"' if guess else "")
                + f", or put a line such as `{','.join(names)}` above it. If it holds the names: HEADER=1. "
                "If it is a title: HEADER= and the line of the names."
            )
            raise InputError(Problem(text, key="DATA", code="data.no_header"))


def _guess(rows: list[Row], there: list[str]) -> dict[int, str]:
    """Guess the fields of the columns, by column number: the one with few repeating values is the label, the
    longest other one the text; {} if this is unclear."""
    whole = [*rows, {name: name for name in there}]  # the first line is also a row
    able = [n for n, name in enumerate(there) if repeats(whole, name) and len(rows) > 1]
    texts = [n for n, name in enumerate(there) if n not in able and wordy(whole, name)]
    if len(there) == 2 and len(texts) == 2:
        return {}
    if not able or not texts or len({row[there[able[0]]] for row in rows}) > MOST_LABELS:
        return {0: "text", 1: "label"} if len(there) == 2 and not texts else {}

    def length(n: int) -> int:
        values: list[Any] = [row.get(there[n]) or "" for row in rows]
        return sum(len(str(value)) for value in values)

    return {max(texts, key=length): "text", able[0]: "label"}
