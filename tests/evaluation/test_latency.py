"""The time of one answer: asked alone, once, and not where nobody wants it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.lazy import lazy
from tunebook.core.files import read_json
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.jobs import ALONE, Job
from tunebook.runs.run import Run

latency = lazy("tunebook.evaluation.latency")


class Labels:
    """A model that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.weights = "first"

    def classify(self, contexts: list[list[int]]) -> list[list[float]]:
        self.asked.append(contexts)
        return [[0.0, -1.0] for _ in contexts]


@pytest.fixture
def model() -> Labels:
    return Labels()


@pytest.fixture
def evaluation(tmp_path: Path, model: Labels) -> Any:
    def answer_job(contender: Contender, split: str, rows: list[int]) -> Job:
        return Job(contender.name, split, "classify", [str(row) for row in rows], [[row, 7] for row in rows])

    (tmp_path / "eval").mkdir()
    return SimpleNamespace(
        run=Run(tmp_path),
        suite=SimpleNamespace(mode="default", latency_rows=3),
        rows={"test": list(range(9))},
        here=ALONE,
        inputs=SimpleNamespace(ask=lambda split, count: [*range(count)]),
        answer_job=answer_job,
        models=SimpleNamespace(open=lambda name: model, fingerprint=lambda name: model.weights),
    )


def test_rows_are_asked_one_at_a_time_and_the_first_does_not_count(evaluation: Any, model: Labels) -> None:
    found = latency.answer_seconds(evaluation, "test")
    assert model.asked == [[[row, 7]] for row in range(4)]
    assert found and found.items() <= read_json(evaluation.run / "eval" / "latency.json").items()
    assert found["rows"] == 3 and 0 <= found["median"] <= found["p90"]


def test_a_resumed_evaluation_asks_no_row_again(evaluation: Any, model: Labels) -> None:
    first = latency.answer_seconds(evaluation, "test")
    model.asked.clear()
    assert latency.answer_seconds(evaluation, "test") == first
    assert model.asked == []


def test_other_weights_are_asked_anew(evaluation: Any, model: Labels) -> None:
    latency.answer_seconds(evaluation, "test")
    model.asked.clear()
    model.weights = "second"
    latency.answer_seconds(evaluation, "test")
    assert len(model.asked) == 4


@pytest.mark.parametrize("change", [{"mode": "quick"}, {"latency_rows": 0}])
def test_nothing_is_measured_where_nobody_asks(
    change: dict[str, Any], evaluation: Any, model: Labels
) -> None:
    vars(evaluation.suite).update(change)
    assert latency.answer_seconds(evaluation, "test") is None
    assert model.asked == []
