"""The kinds of answers in a question dataset, so that the base model gets fitting instructions.

In: the rows of train. Out: counts, and the words of `baseline_prompt` that follow from them. A base model
that is told to copy from the passage cannot answer "yes", and the baseline would be too low.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tunebook.core.words import DECIDED, count, phrase, words

# A fixed answer is short, frequent and rarely quoted, or one of DECIDED.
FIXED_WORDS, FIXED_SHARE, FIXED_ROWS = 3, 0.05, 3
NEARLY_ALL, MOST, FEW = 0.95, 0.8, 0.2
SHORT = 8  # words


@dataclass
class Answers:
    """Counts over the answered questions of train. Texts are compared without case and punctuation."""

    first: Counter[tuple[str, ...]] = field(default_factory=Counter)
    standing: Counter[tuple[str, ...]] = field(default_factory=Counter)
    written: dict[tuple[str, ...], str] = field(default_factory=dict)
    lengths: list[float] = field(default_factory=list)

    def see(self, row: dict[str, Any]) -> None:
        """Count one row with `context` and `answers`; a row without an answer is ignored."""
        golds = [gold for gold in row.get("answers") or [] if isinstance(gold, str) and gold.strip()]
        if not golds:
            return
        key = tuple(words(golds[0]))
        self.first[key] += 1
        self.written.setdefault(key, golds[0].strip())
        self.lengths.append(count(golds[0]))
        passage = phrase(words(str(row.get("context") or "")))
        self.standing[key] += any(phrase(words(gold)) in passage for gold in golds)

    @property
    def fixed(self) -> list[str]:
        """The short answers shared by many questions, the most frequent first."""
        least = max(FIXED_ROWS, FIXED_SHARE * self.first.total())
        return [
            self.written[key]
            for key, n in self.first.most_common()
            if n >= least and len(key) <= FIXED_WORDS
            if " ".join(key) in DECIDED or self.standing[key] < MOST * n
        ]

    def counts(self) -> tuple[int, int, int]:
        """Return how many answers there are, how many are fixed, and how many of the others occur in their
        passage."""
        fixed = {tuple(words(text)) for text in self.fixed}
        others = sum(n for key, n in self.standing.items() if key not in fixed)
        return self.first.total(), sum(self.first[key] for key in fixed), others

    def prompt(self, no_answer: str | None) -> str:
        """Return the instructions for the base model; `no_answer` is the text to give if there is no
        answer."""
        whole, fixed, standing = self.counts()
        say = f", or with {no_answer!r} if the passage does not contain the answer" if no_answer else ""
        listed = ", ".join(self.fixed)
        if whole and fixed >= NEARLY_ALL * whole:
            return f"Answer with one of these and nothing else: {listed}{say}."
        ask = f"If the question asks for one of these, answer with it alone: {listed}. Otherwise answer"
        start = ask if fixed else "Answer"
        others = whole - fixed
        if not others or standing >= MOST * others:
            return f"{start} in as few words as possible, copied from the passage{say}."
        usual = statistics.median(self.lengths)
        if usual > SHORT:
            return f"{start} from the passage in about {usual:.0f} words{say}."
        where = ", copied from the passage where it says so" if standing >= FEW * others else ""
        return f"{start} in as few words as possible{where}{say}."

    def in_words(self) -> str:
        """Return the counts in one line without a full stop."""
        whole, fixed, standing = self.counts()
        shown = self.fixed
        said = f"{fixed} of {whole} are one of {', '.join(map(repr, shown))}; " if shown else ""
        rest = f"{standing} of the other {whole - fixed}" if shown else f"{standing} of {whole}"
        return f"answers of train: {said}{rest} stand in their passages"
