"""The records that jobs write, one per row; their fields depend on the kind of job."""

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
