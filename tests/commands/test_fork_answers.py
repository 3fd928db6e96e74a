"""What the base model is told of a question set goes by its answers, so that the right ones are allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.commands.fork.output.answers import Answers


def rows(*answers: str | None, context: str = "The Wend rises on Crake Fell; no boat goes up.") -> Answers:
    found = Answers()
    for answer in answers:
        row: dict[str, Any] = {"context": context, "answers": [] if answer is None else [answer]}
        found.see(row)
    return found


DECIDED = ["yes"] * 11 + ["no"] * 7 + ["maybe"] * 2
COPIED = ["Crake Fell", "the Wend", "boat", "rises on Crake Fell", "Wend rises"]
FREE = ["A river", "north", "on foot", "two", "by ferry"]
LONG = ["It rises high up on the fell and then runs for many miles down to the quay of the town."]


@pytest.mark.parametrize(
    ("answers", "has", "has_not"),
    [
        (DECIDED + ["maybe"], ["one of these and nothing else: yes, no, maybe"], ["passage", "copied"]),
        (["Ja."] * 6 + ["Nein"] * 6, ["Ja., Nein"], ["copied"]),
        (COPIED * 4, ["copied from the passage."], ["one of these"]),
        (COPIED * 3 + ["yes"] * 5, ["one of these, answer with it alone", "copied from the passage."], []),
        (FREE * 4, ["as few words as possible."], ["copied", "one of these"]),
        (COPIED + FREE, ["copied from the passage where it says so"], []),
        (LONG * 2, ["in about 20 words"], ["few words", "copied"]),
        ([], ["few words"], []),
    ],
)
def test_the_prompt_allows_the_answers_that_are_right(
    answers: list[str], has: list[str], has_not: list[str]
) -> None:
    # So that no free answer counts as frequent, each is told from the next by a number it does not share.
    unique = [f"{text} {n}" if text in FREE else text for n, text in enumerate(answers)]
    prompt = rows(*unique).prompt(None)
    assert all(part in prompt for part in has), prompt
    assert not any(part in prompt for part in has_not), prompt


def test_no_is_no_quotation_because_the_passage_has_the_word() -> None:
    found = rows(*DECIDED, *DECIDED)
    assert found.counts() == (40, 40, 0)
    assert found.in_words().startswith("answers of train: 40 of 40 are one of 'yes', 'no', 'maybe'")


def test_unanswered_questions_are_not_counted_and_have_a_text_of_their_own() -> None:
    found = rows(*COPIED[:4], None, None)
    assert found.counts() == (4, 0, 4)
    assert "unanswerable" in found.prompt("unanswerable") and "unanswerable" not in found.prompt(None)


@pytest.mark.parametrize(
    ("context", "answer", "stands"),
    [
        ("Die Stra\u00dfe liegt im Tal.", "STRASSE", True),
        ("\u623f\u95f4\u5728\u4e09\u697c\u3002", "\u4e09\u697c", True),
        ("It is 4 km long.", "4 km", True),
        ("It is 14 km long.", "4 km", False),
        ("Nothing.", "not", False),
    ],
)
def test_an_answer_stands_as_whole_words(context: str, answer: str, stands: bool) -> None:
    assert rows(answer, context=context).counts()[2] == stands
