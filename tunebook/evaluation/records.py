"""The records that jobs write, one a row; which fields there are depends on the kind of job."""

from __future__ import annotations

from typing_extensions import TypedDict


class Item(TypedDict):
    """An item of a task of the harness and its value."""

    id: str
    value: float


class JobRecord(TypedDict, total=False):
    """What a model answered: `tokens` and `stopped` (generate), `scores` in nats by label or choice (rank,
    classify), `logprob` in nats (score), `logprobs` of each turn where several are scored, `items`
    (harness)."""

    tokens: list[int]
    stopped: bool
    scores: list[float]
    logprob: float
    logprobs: list[float]
    items: list[Item]
