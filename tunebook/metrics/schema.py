"""The form of metrics.json (schema 1), a line each in docs/metrics.md. Fields may be added, never renamed.

Shares are 0 to 1, differences a - b, null is "not measured".
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Literal["better", "worse", "no difference shown"]


class Form(BaseModel):
    """A part of metrics.json: nothing but the fields it names."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Rate(Form):
    """A value over rows with its 95 % interval by group."""

    value: float | None
    n: int
    groups: int
    low: float | None
    high: float | None


class Measured(Rate):
    """A metric of a contender."""

    higher_is_better: bool | None


class Comparison(Form):
    """The difference of two contenders in one metric."""

    metric: str
    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    test: Literal["permutation", "mcnemar_midp"] | None
    detectable: float | None
    n: int
    groups: int


class Bin(Form):
    """The rows whose confidence is above `low` and up to `high`."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class Details(Form):
    """What stands behind the metrics of a contender."""

    made: Literal["generated", "ranked", "classified"]
    calibration: list[Bin] | None
    rules: dict[str, Rate] | None


class Confusion(Form):
    """Gold labels downwards, answers across; the last column counts answers that name no label."""

    labels: list[str]
    answers: list[str]
    matrix: list[list[int]]


class LabelLine(Form):
    """One label of the tuned model."""

    label: str
    n: int
    precision: float
    recall: float
    f1: float


class Dev(Form):
    """How the baseline was chosen."""

    rows: int
    tried: dict[str, float]


class GateLine(Form):
    """A gate and what came of it."""

    name: str
    value: float | None
    bound: float | None
    passed: bool | None


class Latency(Form):
    """Seconds from a question to its answer, asked one at a time."""

    rows: int
    median: float
    p90: float


class Metrics(Form):
    """metrics.json as a whole."""

    schema_: Literal[1] = Field(alias="schema")
    recipe: str
    tier: Literal["trial", "real"]
    seed: int
    split: Literal["dev", "test"]
    rows: int
    groups: int
    rows_sha256: str
    train_rows: int
    primary: str
    model: str
    dataset: str
    hardware: dict[str, Any]
    trained_tokens: int | None
    steps: int | None
    changed_weights: dict[str, Any] | None
    contenders: dict[str, dict[str, Measured]]
    dev: Dev
    baseline: str
    comparisons: list[Comparison]
    details: dict[str, Details]
    confusion: Confusion | None
    per_class: list[LabelLine] | None
    retention: list[dict[str, Any]]
    style: dict[str, Any] | None
    checkpoints: dict[str, Any] | None
    interruptions: dict[str, Any] | None
    latency: Latency | None
    token_agreement_unmerged_merged: float | None
    gates: list[GateLine]
    verdict: Word
    sentence: str
    seconds: dict[str, float]
    peak_memory_gib: float | None
    peak_memory_by_stage_gib: dict[str, float]
