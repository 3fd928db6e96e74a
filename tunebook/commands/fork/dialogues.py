"""Recognise the columns that contain conversations, and report how their turns are read.

In: a sample of rows. Out: the columns with turns, their roles, and notes for the user.
"""

from __future__ import annotations

import contextlib

from tunebook.commands.fork.columns import NAMES
from tunebook.core.errors import RowFault
from tunebook.data.formats.calls.hermes import calls_in
from tunebook.data.formats.meaning.meanings import CHOSEN, HISTORY, REJECTED, SCORES
from tunebook.data.formats.rows.row import Columns, Row
from tunebook.data.formats.turn_forms import ROLE_OF, TEXT_KEYS, Turns, from_json, turns_of, unread_fields
from tunebook.data.formats.values import ROLE_KEYS, plain_name

# Columns with only a part of a conversation.
PARTS = {*HISTORY, *CHOSEN.split(), *REJECTED.split(), "prompt", "input", "completion", "response", "output"}
HERMES = (
    "calls written as <tool_call> in the text are read as tool calls, which the base model's chat template "
    "writes in its own format; tools listed in a system prompt stay there as text"
)


def _turns(row: Row, column: str) -> Turns | None:
    with contextlib.suppress(RowFault):
        return turns_of(from_json(row.get(column), column), column)  # as in a table
    return None


def roles_of(row: Row, column: str) -> set[str | None]:
    """Return the roles of a row's turns; for a row that cannot be read, all roles, so that its fault is
    reported."""
    found = _turns(row, column)
    if not found or not all(isinstance(turn, dict) for _, turn in found.placed):
        return {"assistant"}
    names = [str(turn[key]) for _, turn in found.placed for key in ROLE_KEYS if key in turn]
    return {ROLE_OF.get(name.strip().lower(), "assistant") for name in names}


def last_role(row: Row, column: str) -> str | None:
    """Return the role of the last turn of a row, or None for a row that cannot be read, so that it is
    reported."""
    found = _turns(row, column)
    turn = found.placed[-1][1] if found and found.placed else None
    name = next((str(turn[key]) for key in ROLE_KEYS if key in turn), "") if isinstance(turn, dict) else ""
    return ROLE_OF.get(name.strip().lower())


def notes_on_turns(rows: list[Row], columns: Columns, layout: str) -> list[str]:
    """Return the assumptions about the turns of conversations, and which of their fields are not used."""
    holding = [columns[name] for name in ("messages", "prompt", "chosen") if name in columns]
    notes: dict[str, None] = {}
    unread: dict[str, None] = {}
    for row in rows:
        for column in holding:
            found = _turns(row, column)
            if not found:
                continue
            unread |= dict.fromkeys(unread_fields(row[column], column))
            if found.assumed:
                notes[found.assumed] = None
            if any(calls_in(text) for text in _texts(found)):
                notes[HERMES] = None
    rated = {name for pair in SCORES for name in pair}
    scores = list(dict.fromkeys(name for row in rows for name in row if plain_name(name) in rated))
    if layout == "preference" and scores:
        notes[f"{', '.join(scores)}: only compared with the order of the answers, not learned"] = None
    if unread:
        notes[f"fields of turns not used in training: {', '.join(unread)}"] = None
    return [*notes]


def _texts(found: Turns) -> list[str]:
    turns = [turn for _, turn in found.placed if isinstance(turn, dict)]
    return [turn[key] for turn in turns for key in TEXT_KEYS if isinstance(turn.get(key), str)]


def holds_turns(row: Row, column: str) -> bool:
    """Return whether a column of a row contains a whole conversation. Forms without roles, which other lists
    also have, only count under the usual names."""
    name, value, found = plain_name(column), row.get(column), _turns(row, column)
    if not found or not found.placed or not isinstance(first := found.placed[0][1], dict):
        return False
    if name == "text" and any(plain_name(other) in NAMES["label"].split() for other in row):
        return False  # a transcript with a label
    if name in PARTS and not (isinstance(value, dict) and "replies" in value):
        return False
    if not any(key in first for key in ROLE_KEYS) or not any(k in first for k in (*TEXT_KEYS, "tool_calls")):
        return False
    with contextlib.suppress(RowFault):
        value = from_json(value, column)
    named = (
        isinstance(value, list) and isinstance(value[0], dict) and any(key in value[0] for key in ROLE_KEYS)
    )
    return named or isinstance(value, dict) or name in NAMES["messages"].split() and len(found.placed) > 1
