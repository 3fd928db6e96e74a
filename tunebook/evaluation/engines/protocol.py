"""What every engine gives and takes. Needs no torch, so that the parent process may import it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.core.files import AxolotlConfig

Ids = list[int]
Span = tuple[int, int]  # start and end


@dataclass(frozen=True)
class Generation:
    """A greedy answer: `ids` without the end-of-turn token; `stopped` is False when the limit cut it."""

    ids: Ids
    stopped: bool


class Engine:
    """One loaded model that answers jobs in token ids. A subclass overrides what it can do; `prefix` is what
    all contexts start with, for an engine that computes it once."""

    end: int
    """The id of the end-of-turn token, at which a generation stops."""

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        """Continue each context greedily for at most `max_new` tokens."""
        raise NotImplementedError(f"{type(self).__name__} generates no text.")

    def rank(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        """Return, for each context, the summed log probability (nats) of every choice."""
        raise NotImplementedError(f"{type(self).__name__} ranks no choices.")

    def score(self, contexts: list[Ids], answers: list[Ids], prefix: Ids) -> list[float]:
        """Return the summed log probability (nats) of each answer after its context."""
        whole = [[(0, len(answer))] for answer in answers]
        return [value for (value,) in self.score_spans(contexts, answers, whole, prefix)]

    def score_spans(
        self, contexts: list[Ids], answers: list[Ids], spans: list[list[Span]], prefix: Ids
    ) -> list[list[float]]:
        """Return the same for parts of each answer, each given all the text before it."""
        raise NotImplementedError(f"{type(self).__name__} scores no answers.")

    def classify(self, contexts: list[Ids]) -> list[list[float]]:
        """Return, for each context, the log probability (nats) of every label."""
        raise NotImplementedError(f"{type(self).__name__} has no classification head.")


class ModelSource(abc.ABC):
    """The models of one evaluation, by name: `base`, `tuned` (fine-tuned), `unmerged` (the same with its
    adapter next to the base's weights) and the kept checkpoints."""

    tokenizer: Any
    config: AxolotlConfig
    """Axolotl's, of which `base_model` names the base."""

    @property
    @abc.abstractmethod
    def head(self) -> bool:
        """Whether the fine-tuned model is a classification head: it scores labels and writes no text."""

    @abc.abstractmethod
    def open(self, name: str, engine: bool = True) -> Engine:
        """Return the model called `name`, loaded; with `engine` False by transformers in this process."""

    @abc.abstractmethod
    def fingerprint(self, name: str) -> dict[str, Any]:
        """Return the settings that, with the prompts, decide the results of the model called `name`."""

    @property
    def merged(self) -> bool:
        """Whether the fine-tuned model is an adapter that is evaluated merged into its base."""
        return False

    @property
    def precision(self) -> str | None:
        """The floating-point type of the models, as "bfloat16"; None where it is not known."""
        return None

    @property
    def times(self) -> int:
        """How many times as large as transformers' own a batch is."""
        return 1

    def add_checkpoint(self, folder: Path) -> str:
        """Make the checkpoint in `folder` known and return the name by which it is opened."""
        raise NotImplementedError(f"{type(self).__name__} opens no checkpoints.")

    def close(self) -> None:
        """Free the memory of the model that is open."""
        return None


def common_prefix(sequences: Sequence[Ids]) -> Ids:
    """Return the longest prefix that all sequences share, leaving each at least one token."""
    first, last = min(sequences), max(sequences)
    length = min(len(sequence) for sequence in sequences) - 1
    shared = 0
    while shared < length and first[shared] == last[shared]:
        shared += 1
    return first[:shared]
