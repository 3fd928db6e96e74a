"""The schema of metrics.json (version 1); docs/metrics.md has a line for each field.

Shares are 0 to 1, differences are a - b, None means "not measured". Fields may be added, never renamed; an
added field is NotRequired, so that files of older runs still open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NotRequired, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import show
from tunebook.core.yaml_file import validation_problems

SCHEMA = 1
Word = Literal["better", "worse", "no difference shown"]


class Rate(TypedDict):
    """A value over examples, with its 95 % interval by group."""

    value: float | None
    n: int
    groups: int
    low: float | None
    high: float | None


class Measured(Rate):
    """One metric of a contender."""

    higher_is_better: bool | None


class Comparison(TypedDict):
    """The difference between two contenders in one metric."""

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


class Bin(TypedDict):
    """The examples whose confidence is above `low` and at most `high`."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class Details(TypedDict):
    """The breakdown behind the metrics of a contender."""

    made: Literal["generated", "ranked", "classified"]
    calibration: list[Bin] | None
    rules: dict[str, Rate] | None


class Confusion(TypedDict):
    """The confusion matrix: gold labels in rows, answers in columns; the last column counts answers that name
    no label."""

    labels: list[str]
    answers: list[str]
    matrix: list[list[int]]


class LabelLine(TypedDict):
    """The fine-tuned model's precision, recall and F1 for one label."""

    label: str
    n: int
    precision: float
    recall: float
    f1: float


class Dev(TypedDict):
    """How the baseline was chosen: the primary metric of each prompting strategy on `rows` dev examples."""

    rows: int
    tried: dict[str, float]


class RetentionLine(TypedDict):
    """What the fine-tuned model lost on one task; `drop` is relative for text, otherwise a difference."""

    task: str
    kind: str
    items: int
    base: float
    tuned: float
    chance: float
    drop: float
    low: float | None
    high: float | None
    margin: float | None
    takes_part: bool
    passed: bool | None


class StyleLine(TypedDict):
    """What one change of the prompt style costs."""

    condition: str
    value: float
    reference: float
    n: int
    drop: float
    low: float | None
    high: float | None
    margin: float | None
    passed: bool | None


class Openings(TypedDict):
    """How alike the answers are: the most frequent first words, their share, distinct over all bigrams."""

    opening: str
    opening_share: float | None
    distinct_2: float | None


class StyleSummary(Openings):
    """Overfitting to the style of the training prompts."""

    as_trained: float
    conditions: list[StyleLine]
    stop_rate: float | None
    copied_share: float | None
    copies: list[dict[str, str]]


class Checkpoints(TypedDict):
    """The metric of each kept checkpoint on dev, by step; the steps of the shipped and of the last
    checkpoint."""

    metric: str
    dev: dict[str, float]
    shipped: int
    last: int


class TurnCounts(TypedDict):
    """Counts of answers in conversations: how many were scored and how many of those are repeated in other
    conversations; how many were generated and how many of those end a conversation."""

    evaluated: Literal["all", "last"]
    scored: int
    repeated: int
    conversations: int
    generated: int
    generated_last: int


class Interruptions(TypedDict):
    """How often the run was interrupted, and what all its sessions took (seconds, dollars)."""

    sessions: int
    stopped: int
    killed: int
    failed: int
    seconds: float
    steps_repeated: int
    dollars: float | None


class GateLine(TypedDict):
    """A gate and its result."""

    name: str
    value: float | None
    bound: float | None
    passed: bool | None


class Latency(TypedDict):
    """Seconds from a prompt to its answer, one request at a time."""

    rows: int
    median: float
    p90: float


@with_config(ConfigDict(extra="forbid", strict=True))
class ParityLine(TypedDict):
    """The score of an exported file, compared with the run's own model on the same rows: `run` and `value` of
    the run's primary metric and their difference with its 95 % interval; the largest difference in the loss
    of a reference answer (bits per byte); seconds per answer, one at a time; likely `causes`. `value` is None
    if the file cannot render a prompt with its answer."""

    artefact: str
    weights: str
    metric: str
    rows: int
    groups: int
    run: float
    value: float | None
    difference: float | None
    low: float | None
    high: float | None
    tolerance: float
    passed: bool
    same_answers: float | None
    stop_rate_run: float | None
    stop_rate: float | None
    largest_gap: float | None
    prompts_equal: float
    bytes: int
    seconds_run: float | None
    seconds: float | None
    causes: list[str]


@with_config(ConfigDict(extra="forbid", strict=True))
class Metrics(TypedDict):
    """The whole of metrics.json."""

    schema: Literal[1]
    recipe: str
    tier: Literal["trial", "real"]
    seed: int
    split: Literal["dev", "test"]
    rows: int
    groups: int
    rows_sha256: str
    train_rows: int
    given_rows: NotRequired[int]
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
    retention: list[RetentionLine]
    style: StyleSummary | None
    checkpoints: Checkpoints | None
    turns: NotRequired[TurnCounts | None]
    interruptions: Interruptions | None
    latency: Latency | None
    token_agreement_unmerged_merged: float | None
    gates: list[GateLine]
    verdict: Word
    light: NotRequired[Literal["green", "amber", "red"]]
    exports: NotRequired[list[ParityLine]]
    exports_to_measure_again: NotRequired[list[str]]
    sentence: str
    seconds: dict[str, float]
    peak_memory_gib: float | None
    peak_memory_by_stage_gib: dict[str, float]


_FORM = TypeAdapter(Metrics)


def validate(value: Any) -> Metrics:
    """Validate `value` and return the same object, typed as Metrics.

    Raises:
        ValidationError: a field is missing, unknown or of another type.
    """
    _FORM.validate_python(value)
    return cast(Metrics, value)


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write `metrics` to `path` atomically.

    Raises:
        ValidationError: a field is missing, unknown or of another type.
    """
    validate(metrics)
    write_json(path, metrics)


def read_metrics(path: Path) -> Metrics:
    """Read a metrics.json.

    Raises:
        InputError: no such file, another schema version, or an invalid field.
    """
    value, name = read_json(path), show(path)
    if value is None:
        problem = Problem("file not found. The run has not been evaluated.", name, code="run.no_metrics")
        raise InputError(problem)
    version = value.get("schema") if isinstance(value, dict) else None
    if version != SCHEMA:
        text = (
            f"this version of Tunebook reads schema {SCHEMA} (got {version!r}). Evaluate the run again with "
            "this version."
        )
        raise InputError(Problem(text, name, key="schema", code="run.other_version"))
    try:
        return validate(value)
    except ValidationError as error:
        problems = validation_problems(error, name, {}, "run.bad_metrics")
        raise InputError("\n".join(map(str, problems)), problems=problems) from None
