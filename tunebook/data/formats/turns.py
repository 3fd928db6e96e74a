"""The assistant turns of a conversation: which are trained on, which repeat other conversations, which one to
generate.

In: rendered rows. Out: positions in `messages`. What training learns is what the evaluation scores: every
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
COMMON = 0.01  # share of the conversations, and at least two


def trained(messages: Messages) -> list[int]:
    """Return the positions of the assistant turns that are trained on; if none is, of the last turn."""
    found = [
        place
        for place, turn in enumerate(messages)
        if turn["role"] == "assistant" and turn.get("weight") in (None, 1)
    ]
    return found or [len(messages) - 1]


def up_to(row: RenderedRow, place: int) -> RenderedRow:
    """Return `row` as if the turn at `place` were its last: the turns before it are the prompt, and it is the
    gold answer. `turn` is its index, in rows with several."""
    if sum(turn["role"] == "assistant" for turn in row["messages"]) < 2:
        return row
    gold: Gold = {**row["gold"], "answer": written(row["messages"][place])}
    return {**row, "messages": row["messages"][: place + 1], "gold": gold, "turn": place}


def ordinal(messages: Messages, place: int | None) -> str:
    """Return the number of the answer at `place` in its conversation (None: the last one), such as "answer 2
    of 3"; "" if it is the only one."""
    answers = [number for number, turn in enumerate(messages) if turn["role"] == "assistant"]
    if len(answers) < 2:
        return ""
    return f"answer {answers.index(answers[-1] if place is None else place) + 1} of {len(answers)}"


def _clauses(text: str) -> list[tuple[str, ...]]:
    """Return the parts of a text between punctuation marks that have two words or more ("have a great day",
    but not a name used in address); the whole text if there is none."""
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
        """Analyse the trained turns of `rows`; rows of one group are one conversation."""
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
        """Return whether every clause of `text` also occurs in other conversations, as in a greeting or a
        goodbye."""
        return all(clause in self.clauses for clause in _clauses(text))

    def information(self, text: str) -> float:
        """Return how informative a turn is, in bits: the sum over its different words of their inverse
        document frequency over conversations (Spaerck Jones 1972)."""
        return sum(
            math.log2((self.conversations + 1) / max(1, self.spread[word])) for word in set(words(text))
        )

    def draw(self, row: RenderedRow, seed: int = SEED) -> int:
        """Return the position of the trained turn of `row` to generate: drawn in proportion to `information`
        from the turns that are not `repeated`, or from all if every turn is. The seed is not the run's, so
        that all runs on the same rows use the same turns."""
        places = trained(row["messages"])
        texts = {place: written(row["messages"][place]) for place in places}
        own = [place for place in places if not self.repeated(texts[place])] or places
        weights = [self.information(texts[place]) for place in own]
        if not sum(weights):
            weights = [1.0] * len(own)
        return random.Random(f"{seed} {row['id']}").choices(own, weights)[0]


def to_generate(rows: list[RenderedRow], seed: int = SEED) -> list[RenderedRow]:
    """Return each row up to the turn to generate."""
    if all(len(trained(row["messages"])) == 1 for row in rows):
        return [up_to(row, trained(row["messages"])[0]) for row in rows]
    repeats = Repeats.of(rows)
    return [up_to(row, repeats.draw(row, seed)) for row in rows]


@dataclass(frozen=True)
class Counts:
    """The number of trained turns, and of conversations (last turns); how many of each are `repeated`."""

    turns: int
    repeated: int
    last: int
    last_repeated: int


def count(rows: list[RenderedRow]) -> Counts | None:
    """Count the trained turns of `rows`; None if each row has only one."""
    each = [[written(row["messages"][place]) for place in trained(row["messages"])] for row in rows]
    if all(len(texts) == 1 for texts in each):
        return None
    repeats = Repeats.of(rows)
    flags = [[repeats.repeated(text) for text in texts] for texts in each]
    last = sum(found[-1] for found in flags)
    return Counts(sum(map(len, each)), sum(map(sum, flags)), len(rows), last)
