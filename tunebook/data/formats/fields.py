"""Fields that change what a row means: each must be read, or the row is refused.

In: a row or a turn, and the fields that its layout reads. Out: a RowFault for any other field that has one of
the meanings of meanings.py. To ignore one, the user names it in `source.drop` of dataset.yaml (`make fork ...
DROP=name`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.listed_texts import choices, passage
from tunebook.data.formats.meaning.meaning_of import meaning_in, meaning_of, said_of, speaks_of_another
from tunebook.data.formats.meaning.meanings import CHOICES, LETTERS, TURNS, Meaning
from tunebook.data.formats.values import are_turns, dropped, is_empty, options_for, texts_in, typed

Row = dict[str, Any]
JOINING = ("prompt", "text", "context")  # fields that take another text
ASKING = ("prompt", "question", "text")  # fields that take the answers to choose from


def refuse_unread(
    row: Row,
    read: Collection[str | None],
    at: str = "",
    answers: bool = True,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Raise for a field of `row` that changes its meaning and is not read.

    Args:
        read: the fields that the layout reads.
        at: prefix of the field's name in a message, such as `messages[2].`.
        answers: an answer is learned, not only a label.
        fields: the columns as in FIELDS=, for an option that joins two of them.

    Raises:
        RowFault: there is such a field; the message names the option that drops it.
    """
    others = [name for name in row if name not in read]
    if not others:
        return
    lettered = row.keys() >= LETTERS  # a question with the columns A, B, C, D
    columns = [name for name in read if name]
    opened = {part.strip() for name in columns if "+" in name or "." in name for part in name.split("+")}
    opened |= {part.partition(".")[0] for part in opened}
    for name in others:
        value = row[name]
        if name in opened or is_empty(value):
            continue
        meaning = CHOICES if lettered and name in LETTERS else meaning_in(name, value, answers)
        if meaning is None and speaks_of_another(name) and meaning_of(name, answers) is None:
            meaning = said_of(name, columns)
            meaning = None if meaning and meaning.neutral(value) else meaning
        if meaning is None and answers and not at and isinstance(value, list) and are_turns(value):
            meaning = TURNS if meaning_of(name) is None else None
        if meaning is None or (meaning.text and _is_said(row, name, columns)):
            continue
        raise unread(meaning, f"{at}{name}", [name], value, fields)


def _is_said(row: Row, name: str, read: Collection[str]) -> bool:
    """Return whether the texts of a field also occur in a field that is read."""
    learned = "\n".join(text for column in read if column != name for text in texts_in(row.get(column)))
    return all(text.strip() in learned for text in texts_in(row[name]))


def _join(meaning: Meaning, name: str, value: Any, fields: Mapping[str, str] | None) -> str:
    """Return how to bring a text into the prompt: with FIELDS=, where that can join it."""
    asked = next((field for field in ASKING if fields and field in fields), None)
    if meaning is CHOICES and fields and asked and choices(value):
        made = {**fields, asked: f"{fields[asked]}+{name}"}
        return f'Join them: FIELDS="{_typed_fields(made)}"'
    taking = next((field for field in JOINING if fields and field in fields), None)
    if fields and "messages" in fields and isinstance(value, str):
        turns = typed(fields["messages"])
        return f'Read it as the system prompt: FIELDS="messages={turns} system={typed(name)}"'
    if not fields or taking is None or not (isinstance(value, str) or passage(value)):
        return "Write it into the prompt"
    made = {**fields, taking: f"{name}+{fields[taking]}"}
    return f'Join it: FIELDS="{_typed_fields(made)}"'


def _typed_fields(fields: Mapping[str, str]) -> str:
    return " ".join(f"{field}={typed(column)}" for field, column in fields.items())


def unread(
    meaning: Meaning, at: str, steps: list[str], value: Any, fields: Mapping[str, str] | None = None
) -> RowFault:
    """Return the fault of an unread field at the place `at` with value `value`; `steps` are the keys that
    lead to it, for DROP=."""
    drop = dropped(steps)
    inside = "[" in at  # in a list: WHERE= keeps or leaves out whole rows
    if inside and meaning.selects:
        alternative = "Remove the turn or the row"
    else:
        join = _join(meaning, steps[-1], value, fields)
        alternative = meaning.instead.format(join=join, **options_for(steps, value))
    instead = f"{alternative}, or drop it" if meaning.instead else "Drop it"
    message = (
        f"{meaning.says}, but would be ignored in training. {instead} with --drop {drop} (DROP={drop}) or "
        "`source.drop` in dataset.yaml."
    )
    return RowFault(at, message, "rows.meaning_not_read")
