"""The meaning of a field: by its name, by its value, by the column that it speaks of.

In: the name of a field, and its value. Out: a `Meaning` of meanings.py, or None.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.sandbox import SandboxedEnvironment

from tunebook.data.formats.meaning.meanings import (
    ABOUT,
    CHECKED,
    CHECKED_ANSWER,
    CHOICES,
    MEANING_OF,
    MEDIA,
    ONE_CHOICE,
    PATTERNS,
    SURENESS,
    Meaning,
)
from tunebook.data.formats.meaning.value_kinds import is_media
from tunebook.data.formats.values import is_empty, plain_name

DECORATION = re.compile(r"avatar|icon|thumbnail|profile|logo|emoji")


@lru_cache(10_000)
def meaning_of(name: Any, answers: bool = True) -> Meaning | None:
    """Return the meaning of a field by its name, or None if the field does not matter.

    Args:
        answers: the row has an answer, not only a label.
    """
    if not isinstance(name, str):
        return None
    plain = plain_name(name)
    if ONE_CHOICE.fullmatch(plain):
        return CHOICES
    if CHECKED.fullmatch(plain):
        return CHECKED_ANSWER
    found = MEANING_OF.get(plain)
    if found is None:
        found = next((one for one in PATTERNS if one.pattern and one.pattern.fullmatch(plain)), None)
    return None if found and found.of_answers and not answers else found


def meaning_in(name: Any, value: Any, answers: bool = True) -> Meaning | None:
    """Return the meaning of a field by its name or its value; None for a value that changes nothing."""
    found = meaning_of(name, answers)
    if found is not None:
        return None if is_empty(value) or found.neutral(value) else found
    return MEDIA if is_media(value) and not DECORATION.search(plain_name(str(name))) else None


@lru_cache(100)
def chosen_by(where: str, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the fields that WHERE= chooses rows by, as the keys that lead to each: they are used, not
    ignored. Fields that are read, or that do not say which rows are good, are not among them.

    Args:
        columns: the columns that are read.
    """
    try:
        tree = SandboxedEnvironment().parse("{{ " + where + " }}")
    except TemplateError:
        return []
    parts: list[nodes.Getattr | nodes.Getitem] = [
        *tree.find_all(nodes.Getattr),
        *tree.find_all(nodes.Getitem),
    ]
    inside = {id(part.node) for part in parts}
    found = []
    for node in (*tree.find_all(nodes.Name), *parts):
        if id(node) not in inside and (steps := _steps(node)) and steps[0] not in columns:
            if any(map(_selects, steps)):
                found.append(steps)
    return found


def _selects(name: str) -> bool:
    meaning = meaning_of(name) or (SURENESS if ABOUT.fullmatch(plain_name(name)) else None)
    return meaning is not None and meaning.selects


def _steps(node: nodes.Node) -> tuple[str, ...]:
    """Return the keys of `meta.score`, or of `row['Is Deleted']`; () for anything else."""
    if isinstance(node, nodes.Name):
        return () if node.name == "row" else (node.name,)
    if isinstance(node, nodes.Getattr):
        return (*_steps(node.node), node.attr)
    if (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and isinstance(node.arg.value, str)
    ):
        return (*_steps(node.node), node.arg.value)
    return ()


@lru_cache(10_000)
def speaks_of_another(name: Any) -> bool:
    """Return whether a field may say something of another column: its name ends in `_confidence`, for
    example."""
    return isinstance(name, str) and ABOUT.fullmatch(plain_name(name)) is not None


def said_of(name: str, read: list[str]) -> Meaning | None:
    """Return the meaning of a field that says something of a read column: how sure it is, or its right value.

    Args:
        read: the names of the columns that are read.
    """
    match = ABOUT.fullmatch(plain_name(name))
    if match is None:
        return None
    stem = match["stem"] or match["after"]
    if not any(one == stem or one.endswith(f"_{stem}") for one in map(plain_name, read)):
        return None
    return SURENESS if match["what"] in ("confidence", "certainty", "agreement") else CHECKED_ANSWER
