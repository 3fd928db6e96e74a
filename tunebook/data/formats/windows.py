"""Cut a long passage to a window of it: `source.window` of dataset.yaml, for questions on passages.

In: a passage, a question, a number of words. Out: whole sentences of the passage that stand together. A
window of train holds the answer, at a drawn place, so that the answer is not always in the middle. A window
of dev and test, and of a new question, is picked by the words of the question alone: picked by the answer, it
would tell the model where the answer is, and the score would not be that of a model in use.
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
PARTS = 4  # a sentence of more than a quarter of the window is cut between words


@dataclass(frozen=True)
class Unit:
    """A sentence of a passage, or a part of a long one: where it starts and ends, and its words."""

    start: int
    end: int
    words: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.words)


def cut(row: Row, size: int, answers: list[str] | None = None) -> Row:
    """Return `row` with its `context` cut to a window of at most `size` words.

    Args:
        row: a row of the reader qa or squad; its `answer_start` says where the first answer stands.
        answers: for a row of train, of which the window holds the first; None: picked by the question.
    """
    passage, question = str(row["context"]), str(row["question"])
    units = _units(passage, size)
    if sum(unit.size for unit in units) <= size:
        return row
    spans = _places(passage, answers[0], row.get("answer_start")) if answers else []
    if spans:
        # Where an answer stands more than once, the place that has more of the question around it.
        inside = max((_inside(units, span) for span in spans), key=lambda at: _overlap(units, at, question))
        first, last = _drawn(units, inside, size, random.Random(f"{question}\n{answers}"))
    else:
        first, last = _picked(units, question, size)
    return {**row, "context": passage[units[first].start : units[last].end].strip()}


def holds(row: RenderedRow) -> bool:
    """Whether the prompt of a rendered row holds one of its answers."""
    prompt = "\n".join(turn["content"] for turn in row["messages"][:-1] if turn["role"] == "user")
    return any(answer in prompt for answer in row["gold"].get("answers") or [])


def held(rows: list[RenderedRow]) -> tuple[int, int]:
    """Return how many of the rendered rows with answers hold one in their prompt, and how many those are."""
    answered = [row for row in rows if row["gold"].get("answers")]
    return sum(map(holds, answered)), len(answered)


@lru_cache(maxsize=16)  # the questions of a passage follow each other
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
    """Return where `answer` stands: at `start` where that is right, else wherever it is found."""
    if isinstance(start, int) and passage.startswith(answer, start):
        return [(start, start + len(answer))]
    whole = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    found = [match.span() for match in whole.finditer(passage)]
    if not found and (at := passage.find(answer)) >= 0:
        found = [(at, at + len(answer))]
    return found


def _inside(units: list[Unit], span: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last unit that a stretch of the passage touches."""
    touched = [n for n, unit in enumerate(units) if unit.start < span[1] and span[0] < unit.end]
    return (touched[0], touched[-1]) if touched else (0, 0)


def _drawn(units: list[Unit], inside: tuple[int, int], size: int, drawn: random.Random) -> tuple[int, int]:
    """Return the window around `inside` that has a drawn number of words before it."""
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
    """Return the window with most of the question: words that few sentences have count more."""
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
    """Return the window moved so that the sentences with words of the question have as much on both sides:
    the answer may stand in the next one."""
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
    """Return the weight of each word of the question that the passage has: how few sentences have it."""
    asked = set(words(question))
    counts = Counter(word for unit in units for word in set(unit.words) & asked)
    return {word: math.log(1 + len(units) / count) for word, count in sorted(counts.items())}


def _overlap(units: list[Unit], at: tuple[int, int], question: str) -> float:
    """Return how much of the question stands around a place: in its sentences and the ones next to them."""
    weights = _weights(units, question)
    near = {word for unit in units[max(0, at[0] - 1) : at[1] + 2] for word in unit.words}
    return sum(weight for word, weight in weights.items() if word in near)
