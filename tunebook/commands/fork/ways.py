"""What to type for one of several readings: FIELDS=, and DROP= for the fields that it leaves unread.

In: a reading and sampled rows. Out: options that work as they are typed.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tunebook.commands.fork.columns import Reading, call, wordy
from tunebook.commands.fork.options import read_drop
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.data.formats.leaves import without_fields
from tunebook.data.formats.listed_texts import passage
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.rows.picked import picked
from tunebook.data.formats.rows.prompts import history_and_prompt
from tunebook.data.formats.rows.row import Row
from tunebook.data.formats.turn_forms import turns_in, turns_of
from tunebook.data.formats.values import are_turns, is_empty, typed

OFFERED = re.compile(r"""\(DROP=("'[^']*'"|[^\s)]+)\)""")
NOT_READ, LOOKED_AT, MOST = "rows.meaning_not_read", 200, 20  # rows examined, maximum number of fields named
TEXTS = ("text", "value", "content")


def way(reading: Reading, rows: list[Row]) -> str:
    """Return the options that choose a reading, with all fields that it would be refused for."""

    def faults(names: list[str]) -> Iterator[Problem]:
        for number, row in enumerate(rows[:LOOKED_AT], 1):
            try:
                made = picked(without_fields(row, names), reading.columns.values())
            except RowFault:
                continue
            for _, read in read_layout(iter([(number, made)]), reading.layout, reading.columns, "rows"):
                if isinstance(read, Problem):
                    yield read

    names = " ".join(map(typed, to_drop(faults, [])))
    return f'FIELDS="{call(reading)}"' + (f' DROP="{names}"' if names else "")


def to_drop(faults: Callable[[list[str]], Iterable[Problem]], names: list[str]) -> list[str]:
    """Return `names` and all fields for which rows are refused without them; a row is refused for its first
    such field.

    Args:
        faults: the faults of the rows without the fields of the given names.
    """
    for _ in range(MOST):
        found = [problem for problem in faults(names) if problem.code == NOT_READ]
        new = [name for name in dict.fromkeys(map(_name, found)) if name and name not in names]
        if not new:
            break
        names = [*names, *new]
    return names


def _name(problem: Problem) -> str:
    """Return the field that the message of a refused row offers to drop."""
    said = OFFERED.search(str(problem))
    return read_drop(shlex.split(said[1])[0])[0] if said else ""


def repeats_turns(chat: Reading, pairs: Reading, rows: list[Row]) -> bool:
    """Return whether the prompt and the answer of every sampled row are turns of its conversation, too, so
    that the conversation has all that they say."""
    answer = pairs.columns["completion"]
    for row in rows[:LOOKED_AT]:
        try:
            found = turns_of(turns_in(row.get(chat.columns["messages"])), "")
            asked = history_and_prompt(row, pairs.columns)[1]
        except RowFault:
            return False
        said = {text.strip() for _, turn in found.placed for text in _texts(turn)} if found else set()
        wanted = [text.strip() for _, turn in asked for text in _texts(turn)]
        if not said.issuperset([*wanted, str(row.get(answer)).strip()]):
            return False
    return bool(rows)


def _texts(turn: Any) -> list[str]:
    return [text for text in turn.values() if isinstance(text, str)] if isinstance(turn, dict) else []


def refuse_objects(rows: list[Row], place: str, reading: Reading) -> None:
    """Raise for a column of prompts, questions, passages or answers that contains objects.

    Raises:
        InputError: the message names a text inside each of them.
    """
    inside = {}
    for name, column in reading.columns.items():
        values = [row.get(column) for row in rows[:LOOKED_AT]]
        objects = [value for value in values if isinstance(value, dict)]
        if name in ("prompt", "completion", "question", "context") and len(objects) == len(values):
            if not any(is_turn(value) or (name == "context" and passage(value)) for value in objects):
                inside[name] = text_paths(column, objects)
    if not inside or not all(inside.values()):
        return
    choices = []
    for paths in itertools.islice(itertools.product(*inside.values()), 3):
        columns = {**reading.columns, **dict(zip(inside, paths, strict=True))}
        choices.append(way(Reading(reading.layout, reading.task, columns), rows))
    names = ", ".join(f"`{reading.columns[name]}`" for name in inside)
    text = f"{place} has objects, not texts, in {names}. Name the texts inside: {' or '.join(choices)}."
    raise InputError(Problem(text, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))


def is_turn(value: Any) -> bool:
    """Return whether a value is a turn, a list of turns or an object that contains one."""
    return are_turns([value]) or turns_of(value, "") is not None


def text_paths(column: str, objects: list[Any]) -> list[str]:
    """Return the paths of the texts inside the objects of a column; if some are called `text`, only these."""
    found: dict[str, None] = {}

    def walk(value: Any, path: str) -> None:
        for key, item in value.items():
            if isinstance(item, dict):
                walk(item, f"{path}.{key}")
            elif isinstance(item, str) and not is_empty(item):
                found[f"{path}.{key}"] = None

    for value in objects:
        walk(value, column)
    called = [path for path in found if path.rpartition(".")[2] in TEXTS]
    return called or [*found]


def text_columns(rows: list[Row], there: list[str]) -> list[str]:
    """Return the columns, and paths inside objects, that contain text of two words or more."""
    found = []
    for name in there:
        objects = [row[name] for row in rows if isinstance(row.get(name), dict)]
        if not objects:
            found += [name] if all(isinstance(row.get(name), (str, type(None))) for row in rows) else []
            continue
        found += text_paths(name, objects[:LOOKED_AT])
    return [name for name in found if wordy(picked_rows(rows, name), name)]


def picked_rows(rows: list[Row], name: str) -> list[Row]:
    """Return the rows with a field for a path; [] if one has several values there."""
    try:
        return [picked(row, [name]) for row in rows]
    except RowFault:
        return []
