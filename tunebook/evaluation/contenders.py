"""Who is compared: ways of prompting the base, the tuned model, and a linear classifier."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from tunebook.core.files import Row
from tunebook.data.dataset import Dataset
from tunebook.data.prompt import Messages, PromptEncoder, with_shots, with_system
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.suite import Suite


@dataclass(frozen=True)
class Way:
    """One way of asking a model: free generation or ranked labels, with or without shots and the
    dataset's `baseline_prompt`."""

    ranked: bool
    shots: bool
    prompted: bool

    @property
    def name(self) -> str:
        return self.of("base")

    def of(self, model: str) -> str:
        """Return what `model` is called when it is asked in this way."""
        kind = "rank" if self.ranked else "generate"
        return f"{model}_{kind}_{'k' if self.shots else '0'}{'_prompt' if self.prompted else ''}"


PLAIN = Way(ranked=False, shots=False, prompted=False)
PROMPTED = Way(ranked=False, shots=False, prompted=True)
ENDPOINT = "endpoint"


def base_ways(dataset: Dataset) -> list[Way]:
    """Return every way of prompting the base that the baseline is chosen from."""
    return [
        Way(ranked, shots, prompted)
        for ranked in ((False, True) if dataset.labels else (False,))
        for shots in (False, True)
        for prompted in ((False, True) if dataset.baseline_prompt else (False,))
    ]


def choose_shots(rows: list[Row], dataset: Dataset, count: int, seed: int) -> list[Messages]:
    """Draw `count` train rows: for classification, each of another label where there are enough."""
    pool = sorted(rows, key=lambda row: row["id"])
    random.Random(seed).shuffle(pool)
    if dataset.labels:
        # The first row of each label, then the second of each, and so on.
        seen: Counter[str] = Counter()
        turn = []
        for row in pool:
            turn.append(seen[row["gold"]["answer"]])
            seen[row["gold"]["answer"]] += 1
        pool = [row for _, row in sorted(zip(turn, pool, strict=True), key=lambda pair: pair[0])]
    return [row["messages"] for row in pool[:count]]


class JobMaker:
    """Makes the jobs of one dataset for one chat template."""

    def __init__(self, dataset: Dataset, suite: Suite, encoder: PromptEncoder, shots: list[Messages]) -> None:
        self.dataset, self.suite, self.encoder, self.shots = dataset, suite, encoder, shots

    def messages(self, row: Row, way: Way) -> Messages:
        """Return the row's messages as `way` asks them."""
        messages = with_system(row["messages"], self.dataset.baseline_prompt if way.prompted else None)
        return with_shots(messages, self.shots) if way.shots else messages

    def answer(self, name: str, split: str, rows: list[Row], way: Way) -> Job:
        """Make the job that generates an answer, or ranks the labels, for each row."""
        messages = [self.messages(row, way) for row in rows]
        contexts = [
            self.encoder.context(turns[:-1], row.get("tools"))
            for turns, row in zip(messages, rows, strict=True)
        ]
        ids = [row["id"] for row in rows]
        if not way.ranked:
            return Job(name, split, "generate", ids, contexts, max_new=self.suite.max_new_tokens)
        choices = []
        for label in self.dataset.labels:
            encoded = self.encoder.encode([*messages[0][:-1], {"role": "assistant", "content": label}])
            choices.append([*encoded.answer, encoded.end])
        return Job(name, split, "rank", ids, contexts, choices=choices)

    def classify(self, name: str, split: str, rows: list[Row]) -> Job:
        """Make the job that asks a classification head for the scores of all labels."""
        contexts = [self.encoder.context(row["messages"][:-1]) for row in rows]
        return Job(name, split, "classify", [row["id"] for row in rows], contexts)

    def score(self, name: str, split: str, rows: list[Row], way: Way) -> Job:
        """Make the job that scores the reference answer of each row; of preference pairs with its turn end,
        as they are trained: an answer that stops too early is the worse one for that."""
        encoded = [self.encoder.encode(self.messages(row, way), row.get("tools")) for row in rows]
        end = self.dataset.task == "preference"
        contexts = [item.context for item in encoded]
        answers = [[*item.answer, *([item.end] * end)] for item in encoded]
        return Job(name, split, "score", [row["id"] for row in rows], contexts, answers)
