"""The interface of every engine. Needs no torch, so that the parent process may import it."""

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
    """A greedy answer: `ids` without the end-of-turn token; `stopped` is False if the token limit cut it
    off."""

    ids: Ids
    stopped: bool


class Engine:
    """A loaded model that runs jobs on token ids. A subclass overrides the methods it supports; `prefix` is
    the common start of all contexts, for an engine that computes it once."""

    end: int
    """The id of the end-of-turn token, at which generation stops."""

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        """Continue each context greedily for at most `max_new` tokens."""
        raise NotImplementedError(f"{type(self).__name__} cannot generate text.")

    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        """Return, for each context, the summed log probability (nats) of every choice."""
        raise NotImplementedError(f"{type(self).__name__} cannot rank choices.")

    def score(self, contexts: list[Ids], answers: list[Ids], prefix: Ids) -> list[float]:
        """Return the summed log probability (nats) of each answer after its context."""
        whole = [[(0, len(answer))] for answer in answers]
        return [value for (value,) in self.score_spans(contexts, answers, whole, prefix)]

    def score_spans(
        self, contexts: list[Ids], answers: list[Ids], spans: list[list[Span]], prefix: Ids
    ) -> list[list[float]]:
        """Return the same for parts of each answer, each given all the text before it."""
        raise NotImplementedError(f"{type(self).__name__} cannot score answers.")

    def classify(self, contexts: list[Ids]) -> list[list[float]]:
        """Return, for each context, the log probability (nats) of every label."""
        raise NotImplementedError(f"{type(self).__name__} has no classification head.")


class ModelSource(abc.ABC):
    """The models of one evaluation, by name: `base`, `tuned` (fine-tuned), `unmerged` (fine-tuned, with a
    separate adapter) and the kept checkpoints."""

    tokenizer: Any
    config: AxolotlConfig
    """The Axolotl config, whose `base_model` names the base model."""

    @property
    @abc.abstractmethod
    def head(self) -> bool:
        """Whether the fine-tuned model is a classification head, which scores labels and writes no text."""

    @abc.abstractmethod
    def open(self, name: str, engine: bool = True) -> Engine:
        """Load and return the model called `name`; with `engine` False, with transformers in this process."""

    @abc.abstractmethod
    def fingerprint(self, name: str) -> dict[str, Any]:
        """Return the settings that, together with the prompts, determine the results of the model called
        `name`."""

    @property
    def merged(self) -> bool:
        """Whether the fine-tuned model is an adapter that is merged into its base model for evaluation."""
        return False

    @property
    def precision(self) -> str | None:
        """The dtype of the models, such as "bfloat16"; None if it is not known."""
        return None

    @property
    def times(self) -> int:
        """The batch size as a multiple of that for transformers."""
        return 1

    def add_checkpoint(self, folder: Path) -> str:
        """Register the checkpoint in `folder` and return the name under which it can be opened."""
        raise NotImplementedError(f"{type(self).__name__} cannot open checkpoints.")

    def close(self) -> None:
        """Free the memory of the loaded model."""
        return None


def common_prefix(sequences: Sequence[Ids]) -> Ids:
    """Return the longest prefix shared by all sequences, leaving each at least one token."""
    first, last = min(sequences), max(sequences)
    length = min(len(sequence) for sequence in sequences) - 1
    shared = 0
    while shared < length and first[shared] == last[shared]:
        shared += 1
    return first[:shared]
