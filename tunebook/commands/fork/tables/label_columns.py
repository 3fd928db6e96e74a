"""Columns of a label table that compete with its text or its label.

In: sampled rows, the column of the label and those of texts. Out: the columns that could be the text, or an
error with FIELDS= for each choice: the other half of a pair of texts, what the label is about (an aspect),
another annotator's label.
"""

from __future__ import annotations

import re
from collections import defaultdict

from tunebook.commands.fork.columns import GROUPS
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.rows.row import Row
from tunebook.data.formats.values import is_empty, plain_name, typed

PEOPLE = re.compile(r"(\w+_)?(worker|annotator|user|rater|author|customer|session|id|uuid)(_\w+)?")
FEWEST, CONFLICTS, LEFT = 5, 0.2, 0.05  # rows, share of the rows, share of these that a column leaves
PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
)
HALVES = frozenset("question query sentence text_pair pair claim".split()).union(*PAIRS)


def paired(candidates: list[str]) -> str | None:
    """Return two columns joined if they are the two texts of a pair by their names, as a label of the pair
    needs both; otherwise None."""
    names = {plain_name(name): name for name in candidates}
    pair = next((pair for pair in PAIRS if {*pair} == {*names} and len(candidates) == 2), None)
    return f"{names[pair[0]]}+{names[pair[1]]}" if pair else None


def with_halves(named: list[str], texts: list[str]) -> list[str]:
    """Return the columns named like a text, and those that usually are the other half of a pair (QNLI: a
    question and a sentence)."""
    if not named:
        return texts
    return [name for name in texts if name in named or plain_name(name) in HALVES]


def ambiguous_text(candidates: list[str], label: str, place: str) -> InputError:
    """Return the error about several columns of which each could be the text."""
    at = typed(label)
    both = f'FIELDS="text={typed("+".join(candidates[:2]))} label={at}"'
    names = " or ".join(f'FIELDS="text={typed(name)} label={at}"' for name in candidates)
    text = (
        f"more than one column of {place} could be the text. If both are needed to tell the label, as of a "
        f"pair: {both}. Otherwise choose: {names}."
    )
    return InputError(Problem(text, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))


def refuse_deciding(rows: list[Row], scalars: list[str], text: str, label: str, place: str) -> None:
    """Raise if one text has several labels and another column says which (an aspect, a target).

    Raises:
        InputError: the message shows how to join the two.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[str(row.get(text))].add(str(row.get(label)))
    several = [row for row in rows if len(found[str(row.get(text))]) > 1]
    if len(several) < max(FEWEST, CONFLICTS * len(rows)):
        return
    for name in scalars:
        values = {row.get(name) for row in rows}
        if name in (text, label) or not 1 < len(values) <= len(rows) / 2 or _is_of_people(name):
            continue
        pairs: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in several:
            pairs[str(row.get(text)), str(row.get(name))].add(str(row.get(label)))
        left = sum(len(pairs[str(row.get(text)), str(row.get(name))]) > 1 for row in several)
        if left > LEFT * len(several):
            continue
        alone, both = (f'FIELDS="text={typed(one)} label={typed(label)}"' for one in (text, f"{text}+{name}"))
        said = (
            f"in {len(several)} of {len(rows)} sampled rows of {place} the same text has several labels, and "
            f"`{name}` tells which. To learn both: {both}. To learn the text alone: {alone}."
        )
        raise InputError(Problem(said, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))


def refuse_other_labels(rows: list[Row], text: str, label: str, place: str) -> None:
    """Raise if another column contains the same labels and differs in some rows: another annotator's, a
    model's prediction.

    Raises:
        InputError: the message shows how to choose.
    """
    labels = _values(rows, label)
    if not any(letter.isalpha() for one in labels for letter in one):
        return  # 0 and 1, or 1 to 5, which other columns have by chance
    for name in dict.fromkeys(name for row in rows for name in row):
        values = _values(rows, name)
        if name in (text, label) or len(values) < 2 or not values <= labels:
            continue
        differ = sum(
            not is_empty(row.get(name)) and _each(row[name]) != {str(row.get(label)).strip()} for row in rows
        )
        if differ:
            ways = " or ".join(f'FIELDS="text={typed(text)} label={typed(one)}"' for one in (label, name))
            said = (
                f"`{label}` and `{name}` of {place} contain the same labels and differ in {differ} of "
                f"{len(rows)} sampled rows. Choose the one to learn: {ways}."
            )
            raise InputError(Problem(said, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))


def _values(rows: list[Row], name: str) -> set[str]:
    return {value for row in rows if not is_empty(row.get(name)) for value in _each(row[name])}


def _each(value: object) -> set[str]:
    """Return a label, or those of a list, as text."""
    return {str(one).strip() for one in (value if isinstance(value, list) else [value])}


def _is_of_people(name: str) -> bool:
    plain = plain_name(name)
    return plain in GROUPS or PEOPLE.fullmatch(plain) is not None
