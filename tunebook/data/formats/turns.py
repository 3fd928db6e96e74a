"""The assistant turns of a conversation: which are trained, which repeat what others say, which one to ask.

In: rendered rows. Out: positions in `messages`. What training learns is what an evaluation scores: every
assistant turn, unless its `weight` is 0.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tunebook.core.words import words
from tunebook.data.prompt import Messages
from tunebook.data.tool_calls import written
from tunebook.runs.rows import Gold, RenderedRow

CLAUSE = re.compile(r"[.,;:!?\n\u3002\uff0c\uff01\uff1f\u3001\uff1b\uff1a\u0964\u061f\u060c]+")
SEED = 42
COMMON = 0.01  # of the conversations, and at least two


def trained(messages: Messages) -> list[int]:
    """Return the positions of the assistant turns that are trained; the last turn where none is."""
    found = [
        place
        for place, turn in enumerate(messages)
        if turn["role"] == "assistant" and turn.get("weight") in (None, 1)
    ]
    return found or [len(messages) - 1]


def up_to(row: RenderedRow, place: int) -> RenderedRow:
    """Return `row` as if the turn at `place` were its last: what comes before it is the prompt, it is the
    gold answer. `turn` says which it is, in rows of several."""
    if sum(turn["role"] == "assistant" for turn in row["messages"]) < 2:
        return row
    gold: Gold = {**row["gold"], "answer": written(row["messages"][place])}
    return {**row, "messages": row["messages"][: place + 1], "gold": gold, "turn": place}


def ordinal(messages: Messages, place: int | None) -> str:
    """Return which answer of its conversation the turn at `place` is (None: the last one), such as "answer 2
    of 3"; "" for the only one."""
    answers = [number for number, turn in enumerate(messages) if turn["role"] == "assistant"]
    if len(answers) < 2:
        return ""
    return f"answer {answers.index(answers[-1] if place is None else place) + 1} of {len(answers)}"


def _clauses(text: str) -> list[tuple[str, ...]]:
    """Return what stands between punctuation marks, of two words or more ("have a great day", but no name
    that is only addressed); the whole text where there is none of those."""
    clauses = [tuple(words(part)) for part in CLAUSE.split(text)]
    return [clause for clause in clauses if len(clause) > 1] or [tuple(words(text))]


@dataclass(frozen=True)
class Repeats:
    """What the trained turns of many conversations have in common."""

    conversations: int
    clauses: frozenset[tuple[str, ...]]
    spread: Counter[str]

    @classmethod
    def of(cls, rows: Iterable[RenderedRow]) -> Repeats:
        """Look at the trained turns of `rows`; rows of one group are one conversation."""
        clauses: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        spread: defaultdict[str, set[str]] = defaultdict(set)
        groups = set()
        for row in rows:
            groups.add(row["group"])
            for place in trained(row["messages"]):
                text = written(row["messages"][place])
                for clause in _clauses(text):
                    clauses[clause].add(row["group"])
                for word in set(words(text)):
                    spread[word].add(row["group"])
        fewest = max(2, math.ceil(COMMON * len(groups)))
        common = frozenset(clause for clause, where in clauses.items() if len(where) >= fewest)
        return cls(len(groups), common, Counter({word: len(where) for word, where in spread.items()}))

    def repeated(self, text: str) -> bool:
        """Return whether everything that `text` says is also said in other conversations: a greeting, a
        goodbye."""
        return all(clause in self.clauses for clause in _clauses(text))

    def information(self, text: str) -> float:
        """Return how much a turn says, in bits: its different words, each by how few conversations have it
        (inverse document frequency, Spaerck Jones 1972)."""
        return sum(
            math.log2((self.conversations + 1) / max(1, self.spread[word])) for word in set(words(text))
        )

    def draw(self, row: RenderedRow, seed: int = SEED) -> int:
        """Return the position of the trained turn at which `row` is asked: drawn in proportion to
        `information` among the turns that are not `repeated`, among all where every one is. The seed is not
        the run's, so that all runs on the same rows are asked the same."""
        places = trained(row["messages"])
        texts = {place: written(row["messages"][place]) for place in places}
        own = [place for place in places if not self.repeated(texts[place])] or places
        weights = [self.information(texts[place]) for place in own]
        if not sum(weights):
            weights = [1.0] * len(own)
        return random.Random(f"{seed} {row['id']}").choices(own, weights)[0]


def asked(rows: list[RenderedRow], seed: int = SEED) -> list[RenderedRow]:
    """Return each row up to the turn at which it is asked."""
    if all(len(trained(row["messages"])) == 1 for row in rows):
        return [up_to(row, trained(row["messages"])[0]) for row in rows]
    repeats = Repeats.of(rows)
    return [up_to(row, repeats.draw(row, seed)) for row in rows]


@dataclass(frozen=True)
class Counts:
    """How many trained turns there are, and last turns of conversations; how many of each are `repeated`."""

    turns: int
    repeated: int
    last: int
    last_repeated: int


def count(rows: list[RenderedRow]) -> Counts | None:
    """Count the trained turns of `rows`; None where each row has one."""
    each = [[written(row["messages"][place]) for place in trained(row["messages"])] for row in rows]
    if all(len(texts) == 1 for texts in each):
        return None
    repeats = Repeats.of(rows)
    flags = [[repeats.repeated(text) for text in texts] for texts in each]
    last = sum(found[-1] for found in flags)
    return Counts(sum(map(len, each)), sum(map(sum, flags)), len(rows), last)
