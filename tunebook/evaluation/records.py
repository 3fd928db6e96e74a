"""The records that jobs write, one per row, whose fields depend on the kind of job; and those of a
sample that a model is prompted with before there is a run."""

from __future__ import annotations

from typing_extensions import TypedDict


class Item(TypedDict):
    """An item of a harness task and its score."""

    id: str
    value: float


class JobRecord(TypedDict, total=False):
    """A model's result for a row: `tokens` and `stopped` (generate), `scores` in nats by label or choice
    (rank, classify), `logprob` in nats (score), `logprobs` of each turn if several are scored, `items`
    (harness)."""

    tokens: list[int]
    stopped: bool
    scores: list[float]
    logprob: float
    logprobs: list[float]
    items: list[Item]


class PromptScore(TypedDict):
    """One prompt: its mean over the rows that were answered, with its 95 % interval where there are enough
    groups."""

    name: str
    rows: int
    value: float
    low: float | None
    high: float | None


class PromptSample(TypedDict):
    """The prompts that were tried, the best first; `seconds` is the median for one answer, `dollars` what all
    answers cost, None where the endpoint's prices or counts are not known."""

    metric: str
    tried: list[PromptScore]
    failed: int
    seconds: float
    dollars: float | None
