"""Values of a JSON document that stand beside its list of rows and hold for all of them.

In: the names and values. Out: an error for one that changes what the rows mean (a system prompt, the
definition of the task, a label), or that says that there are more rows; the others are listed as not learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.data.field_use.show import Use, example
from tunebook.data.formats.meaning.meaning_of import meaning_in
from tunebook.data.formats.values import dropped, is_true, plain_name

SHARED = frozenset(
    """instruction definition prompt system label intent category class topic question task_description
    task_prompt""".split()
)
MORE = frozenset(
    """next next_page next_url next_cursor next_page_token next_link odata_next_link has_more
    has_next_page""".split()
)


def refuse_beside(beside: Mapping[str, Any], names: Collection[str], place: str) -> None:
    """Raise for a value that holds for all rows and would be lost.

    Args:
        names: those of DROP=.

    Raises:
        InputError: the message names the option that leaves it out.
    """
    for name, value in beside.items():
        plain = plain_name(name.rpartition(".")[2])
        drop = dropped([name])
        if name in names:
            continue
        if plain in MORE and (isinstance(value, str) or is_true(value)):
            text = (
                f"the file is one page of an answer with more rows ({example(value)}). Join the pages, or "
                f"use this one alone: --drop {drop} (DROP={drop})."
            )
            raise InputError(Problem(text, place, key=name, code="data.more_pages"))
        if plain in SHARED or meaning_in(plain, value) is not None:
            text = (
                f"stands beside the list of rows ({example(value)}), so it holds for all of them, but "
                "would be ignored in training. Write it into each row, or leave it out: "
                f"--drop {drop} (DROP={drop})."
            )
            raise InputError(Problem(text, place, key=name, code="data.beside_rows"))


def beside_uses(beside: Mapping[str, Any], names: Collection[str]) -> list[Use]:
    """Return the values beside the rows, for the list of fields that are not learned."""
    return [
        Use(f"{name} (beside the rows)", "not learned", 1, [example(value)], dropped=name in names)
        for name, value in beside.items()
    ]
