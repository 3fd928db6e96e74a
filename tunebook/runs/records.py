"""The schemas of the JSON files in a run folder. `Run` reads them. For metrics.json, see
tunebook/metrics/schema.py.

Keys may be added, never renamed. A file may contain further keys; they are kept when it is written again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import read_json
from tunebook.core.paths import show
from tunebook.core.yaml_file import dotted

T = TypeVar("T")
RESTORE = "Restore it from a copy of the run folder, or run the recipe again."
NO_FILE = "file not found. The run has not reached that stage."


class Stage(TypedDict):
    """A stage of a run: `seconds` is the total of all attempts, `status` running or done."""

    seconds: float
    status: str


class State(TypedDict):
    """state.json: the stages; the digest of the evaluation settings; the configs whose smoke test passed."""

    stages: dict[str, Stage]
    evaluation: NotRequired[str]
    smoke: NotRequired[dict[str, Any]]


class Placement(TypedDict):
    """The part of settings.json needed to start child processes: base model, number of processes."""

    base_model: str
    world: int


class Settings(Placement):
    """settings.json: how the run was set up. `dataset` and `suite` are dumps of the models of those names."""

    recipe: str
    tier: str
    seed: int
    hardware: str | None
    dataset: dict[str, Any]
    suite: dict[str, Any]


class _Dataset(TypedDict):
    """What every verb needs of the dataset in settings.json."""

    name: str
    task: str
    labels: list[str]


class _Suite(TypedDict):
    """What every verb needs of the suite in settings.json."""

    primary: str


class WholeSettings(Settings):
    """The form that settings.json is validated against."""

    dataset: _Dataset  # type: ignore[misc]  # narrower, and only for validation
    suite: _Suite  # type: ignore[misc]


class _Hardware(TypedDict):
    """What is read of the machine; it has more."""

    gpus: list[dict[str, Any]]
    cores: NotRequired[int]


class Manifest(TypedDict):
    """manifest.json: what made the run (tunebook/pipeline/manifest.py)."""

    base_model: str
    command: str
    started: str
    hardware: _Hardware
    versions: NotRequired[dict[str, str]]
    base_weights: NotRequired[str | None]


class History(TypedDict):
    """train/history.json: the trainer's log. Counts are None if nothing was counted."""

    steps: int | None
    trained_tokens: int | None
    padded_tokens: NotRequired[int | None]
    train_rows: NotRequired[int | None]
    changed: NotRequired[dict[str, Any] | None]
    log: list[dict[str, Any]]


class Choice(TypedDict):
    """eval/choice.json: which prompt of the base model scored best on dev, and what else was evaluated."""

    split: str
    baseline: str
    contenders: list[str]
    tried_on_dev: dict[str, float]
    dev_rows: int
    shots: list[list[dict[str, Any]]]
    shots_used: NotRequired[int]
    baseline_prompt: str | None
    token_agreement_unmerged_merged: float | None
    latency: NotRequired[dict[str, Any] | None]
    checkpoints: NotRequired[dict[str, Any] | None]
    beside: NotRequired[dict[str, Any]]
    not_measured: NotRequired[dict[str, str]]
    precision: NotRequired[str | None]


class SessionEntry(TypedDict):
    """An entry of sessions.json: one start of a run. `seconds` is the last value recorded; without `end`, the
    session is still running or was killed."""

    seconds: float
    started: NotRequired[str]
    host: NotRequired[str]
    end: NotRequired[str]
    dollars_per_hour: NotRequired[float]


def read(path: Path, form: TypeAdapter[T], missing: T | None = None) -> T:
    """Return the JSON in `path`, including keys that `form` does not define; return `missing`, if given, when
    the file does not exist.

    Raises:
        InputError: the file does not exist or is not JSON, or required keys are missing or have another type.
    """
    value = read_json(path, missing)
    if value is None and not path.is_file():
        raise InputError(Problem(NO_FILE, show(path), code="run.no_file"))
    try:
        form.validate_python(value)
    except ValidationError as error:
        advice = f"Damaged, or written by another version of Tunebook. {RESTORE}"
        problems = [
            Problem(f"{e['msg']}. {advice}", show(path), key=dotted(e["loc"]), code="run.other_version")
            for e in error.errors()
        ]
        raise InputError("\n".join(map(str, problems)), problems=problems) from None
    result: T = value  # not the validated copy, which lacks the other keys
    return result
