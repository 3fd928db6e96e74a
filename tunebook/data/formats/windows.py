"""Shorten a long passage to a window of it: `source.window` of dataset.yaml, for questions about passages.

In: a passage, a question, a number of words. Out: consecutive whole sentences of the passage. A train window
contains the answer, at a random position, so that the answer is not always in the middle. The window of a dev
or test row, and of a new question, is chosen by the words of the question alone: chosen by the answer, it
would give the answer's position away, and the score would not be that of the model in use.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunebook.core.files import Row
from tunebook.core.words import PIECE, words
from tunebook.runs.rows import RenderedRow

SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"')\]]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
PARTS = 4  # a sentence longer than a quarter of the window is split between words


@dataclass(frozen=True)
class Unit:
    """A sentence of a passage, or a part of a long one: its start, end and words."""

    start: int
    end: int
    words: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.words)


def cut(row: Row, size: int, answers: list[str] | None = None) -> Row:
    """Return `row` with its `context` shortened to a window of at most `size` words.

    Args:
        row: a row of the reader qa or squad; its `answer_start` is the position of the first answer.
        answers: the answers of a train row, the first of which the window contains; None: choose by the
            question.
    """
    passage, question = str(row["context"]), str(row["question"])
    units = _units(passage, size)
    if sum(unit.size for unit in units) <= size:
        return row
    spans = _places(passage, answers[0], row.get("answer_start")) if answers else []
    if spans:
        # If an answer occurs several times, take the position with more words of the question around it.
        inside = max((_inside(units, span) for span in spans), key=lambda at: _overlap(units, at, question))
        first, last = _drawn(units, inside, size, random.Random(f"{question}\n{answers}"))
    else:
        first, last = _picked(units, question, size)
    return {**row, "context": passage[units[first].start : units[last].end].strip()}


def holds(row: RenderedRow) -> bool:
    """Return whether the prompt of a rendered row contains one of its answers."""
    prompt = "\n".join(turn["content"] for turn in row["messages"][:-1] if turn["role"] == "user")
    return any(answer in prompt for answer in row["gold"].get("answers") or [])


def held(rows: list[RenderedRow]) -> tuple[int, int]:
    """Return how many of the rendered rows with answers contain one in their prompt, and the number of rows
    with answers."""
    answered = [row for row in rows if row["gold"].get("answers")]
    return sum(map(holds, answered)), len(answered)


@lru_cache(maxsize=16)  # consecutive questions often share a passage
def _units(passage: str, size: int) -> list[Unit]:
    units, start, most = [], 0, max(1, size // PARTS)
    for end in [*(match.end() for match in SENTENCE_END.finditer(passage)), len(passage)]:
        pieces = [start + match.start() for match in PIECE.finditer(passage[start:end])]
        bounds = [start, *pieces[most::most], end] if len(pieces) > most else [start, end]
        for left, right in zip(bounds, bounds[1:], strict=False):
            if own := words(passage[left:right]):
                units.append(Unit(left, right, tuple(own)))
        start = end
    return units


def _places(passage: str, answer: str, start: Any) -> list[tuple[int, int]]:
    """Return the positions of `answer`: `start` if it is correct, otherwise all occurrences."""
    if isinstance(start, int) and passage.startswith(answer, start):
        return [(start, start + len(answer))]
    whole = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    found = [match.span() for match in whole.finditer(passage)]
    if not found and (at := passage.find(answer)) >= 0:
        found = [(at, at + len(answer))]
    return found


def _inside(units: list[Unit], span: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last unit that a span of the passage touches."""
    touched = [n for n, unit in enumerate(units) if unit.start < span[1] and span[0] < unit.end]
    return (touched[0], touched[-1]) if touched else (0, 0)


def _drawn(units: list[Unit], inside: tuple[int, int], size: int, drawn: random.Random) -> tuple[int, int]:
    """Return the window around `inside` with a random number of words before it."""
    first, last = inside
    left = size - sum(unit.size for unit in units[first : last + 1])
    before = drawn.randint(0, max(0, left))
    while first and units[first - 1].size <= min(before, left):
        first -= 1
        before, left = before - units[first].size, left - units[first].size
    while last + 1 < len(units) and units[last + 1].size <= left:
        last += 1
        left -= units[last].size
    while first and units[first - 1].size <= left:  # the passage ends on the right
        first -= 1
        left -= units[first].size
    return first, last


def _picked(units: list[Unit], question: str, size: int) -> tuple[int, int]:
    """Return the window with most of the question's words; words that few sentences contain count more."""
    weights = _weights(units, question)
    best, best_score, first, held, here = (0, 0), -1.0, 0, 0, Counter[str]()
    for last, unit in enumerate(units):
        held += unit.size
        here.update(word for word in unit.words if word in weights)
        while held > size and first < last:
            held -= units[first].size
            here.subtract(word for word in units[first].words if word in weights)
            first += 1
        score = sum(weight for word, weight in weights.items() if here[word] > 0)
        if score > best_score + 1e-9:
            best, best_score = (first, last), score
    return _centred(units, best, size, weights)


def _centred(
    units: list[Unit], window: tuple[int, int], size: int, weights: dict[str, float]
) -> tuple[int, int]:
    """Return the window shifted so that it extends equally far on both sides of the sentences with words of
    the question, because the answer may be in a neighbouring sentence."""
    first, last = window
    telling = [n for n in range(first, last + 1) if weights.keys() & set(units[n].words)]
    if not telling:
        return first, last
    first, last = telling[0], telling[-1]
    left = size - sum(unit.size for unit in units[first : last + 1])
    grown = True
    while grown:
        grown = False
        if last + 1 < len(units) and units[last + 1].size <= left:
            last, grown = last + 1, True
            left -= units[last].size
        if first and units[first - 1].size <= left:
            first, grown = first - 1, True
            left -= units[first].size
    return first, last


def _weights(units: list[Unit], question: str) -> dict[str, float]:
    """Return the weight of each word of the question that occurs in the passage: the fewer sentences contain
    it, the higher."""
    asked = set(words(question))
    counts = Counter(word for unit in units for word in set(unit.words) & asked)
    return {word: math.log(1 + len(units) / count) for word, count in sorted(counts.items())}


def _overlap(units: list[Unit], at: tuple[int, int], question: str) -> float:
    """Return how many of the question's words occur around a position: in its sentence and the neighbouring
    ones, weighted."""
    weights = _weights(units, question)
    near = {word for unit in units[max(0, at[0] - 1) : at[1] + 2] for word in unit.words}
    return sum(weight for word, weight in weights.items() if word in near)
