"""Labels with probabilities: the fine-tuned model ranks the label set, so that no answer is invalid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunebook.data.dataset import Dataset
from tunebook.data.prompt import Messages, PromptEncoder
from tunebook.evaluation.engines.protocol import Engine, Ids, common_prefix


@dataclass(frozen=True)
class Ranked:
    """The most likely label of a text with its probability among all labels, and the second most likely
    one."""

    label: str
    probability: float
    second: str
    second_probability: float


def label_choices(dataset: Dataset, encoder: PromptEncoder, turns: Messages) -> list[Ids]:
    """Return the ids of each label as an answer to `turns`, with the end-of-turn token."""
    encoded = [encoder.encode([*turns, {"role": "assistant", "content": label}]) for label in dataset.labels]
    return [[*one.answer, one.end] for one in encoded]


def rank_labels(
    engine: Engine, head: bool, contexts: list[Ids], labels: list[str], answers: list[Ids]
) -> list[Ranked]:
    """Rank `labels` for each context. Probabilities are the softmax over the labels' log probabilities.

    Args:
        head: whether the engine is a classification head, which scores the labels itself.
        answers: the ids of each label as an answer (`label_choices`); unused for a head.
    """
    if head:
        scores = engine.classify(contexts)
    else:
        prefix = common_prefix(contexts) if len(contexts) > 1 else []
        scores = engine.rank_choices(contexts, answers, prefix)
    return [_ranked(line, labels) for line in scores]


def _ranked(scores: list[float], labels: list[str]) -> Ranked:
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    order = sorted(range(len(labels)), key=lambda i: -weights[i])
    first, second = order[0], order[1]
    return Ranked(
        labels[first], weights[first] / sum(weights), labels[second], weights[second] / sum(weights)
    )
