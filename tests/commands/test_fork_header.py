"""A table without a line of names is refused, and says what its first line should be."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.commands.fork.recognise import recognise
from tunebook.core.errors import InputError

WORDS = "drips leaks hums roars ticks smells".split()


def rows(text: str, label: str) -> list[dict[str, Any]]:
    return [{text: f"the kettle {word} again today", label: "ab"[n % 2]} for n, word in enumerate(WORDS)]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("the kettle is broken and it drips", "label"),
        ("text", "a"),
        ("Complaints of March 2026, all branches together", "Unnamed"),
        ("text", "7"),
    ],
)
def test_a_first_line_that_is_a_row_is_refused(text: str, label: str) -> None:
    with pytest.raises(InputError) as caught:
        recognise(rows(text, label), "tickets.csv", "classification", {})
    assert caught.value.code == "data.no_header"
    assert "text,label" in str(caught.value)


@pytest.mark.parametrize(("text", "label"), [("text", "label"), ("customer message", "kind of problem")])
def test_names_are_names(text: str, label: str) -> None:
    assert recognise(rows(text, label), "tickets.csv", "classification", {}).columns["label"] == label


def test_an_object_of_jsonl_has_its_names() -> None:
    reading = recognise(rows("text", "a"), "tickets.jsonl", "classification", {"text": "text", "label": "a"})
    assert reading.layout == "labels"
