"""What to try next follows from the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunebook.core.files import read_json
from tunebook.report.advice import next_steps
from tunebook.runs.run import Run

LINE = {"task": "general", "kind": "text", "base": 1.0, "tuned": 1.1, "drop": 0.1, "low": 0.0, "margin": None}
LINE |= {"passed": None, "takes_part": True}


@pytest.fixture
def measured(handmade: Callable[..., Run]) -> dict[str, Any]:
    return read_json(handmade() / "metrics.json")


def said(measured: dict[str, Any], dev: list[float] | None = None, **changes: Any) -> str:
    log = [{"step": 10 * i, "eval_loss": loss} for i, loss in enumerate(dev or [1.0, 1.0])]
    return " ".join(next_steps({**measured, **changes}, {"log": log}))


def test_forgetting_comes_first(measured: dict[str, Any]) -> None:
    lost = [
        {**LINE, "task": "sums", "margin": 0.1, "passed": False},
        {**LINE, "margin": 0.1, "passed": True},
    ]
    first = next_steps({**measured, "retention": lost}, {"log": []})[0]
    assert "forgot too much (sums)" in first and "learning_rate" in first


def test_what_is_lost_without_a_gate_is_said(measured: dict[str, Any]) -> None:
    tasks = {**LINE, "task": "tasks", "kind": "checks", "base": 0.7, "tuned": 0.1, "drop": 0.6, "low": 0.4}
    assert "(tasks 70.0 % to 10.0 %)" in said(measured, retention=[tasks])
    assert "no gate" not in said(measured, retention=[{**tasks, "drop": 0.05, "low": -0.1}])


def test_the_dev_loss_decides_on_epochs(measured: dict[str, Any]) -> None:
    assert "lowest at step 10 and rose" in said(measured, dev=[1.0, 0.5, 0.9])
    assert "still falling" in said(measured, dev=[1.0, 0.8, 0.6])
    flat = said(measured, dev=[1.0, 0.6, 0.6])
    assert "still falling" not in flat and "rose" not in flat


def test_a_checkpoint_that_is_not_the_last_is_named(measured: dict[str, Any]) -> None:
    best = {"shipped": 20, "last": 30, "dev": {}, "metric": "accuracy"}
    assert "step 20 was better on dev" in said(measured, checkpoints=best)
    assert "better on dev" not in said(measured, checkpoints={**best, "shipped": 30})


def test_a_linear_classifier_that_wins_is_named(measured: dict[str, Any]) -> None:
    assert "linear classifier" not in said(measured)
    svm = next(c for c in measured["comparisons"] if c["b"] == "svm" and c["metric"] == "accuracy")
    svm |= {"difference": -0.2, "p": 0.001, "p_holm": 0.01}
    assert "trains in a second is better" in said(measured)
    svm |= {"p_holm": 0.9}
    assert "trains in a second does as well" in said(measured)


def test_the_split_the_style_and_the_tier(measured: dict[str, Any]) -> None:
    assert "EVAL=full" in said(measured)
    assert "EVAL=full" not in said(measured, style={"conditions": []})
    assert "dev split" in said(measured, split="dev")
    assert "real tier" in said(measured) and "real tier" not in said(measured, tier="real")


def test_invalid_answers_are_named(measured: dict[str, Any]) -> None:
    assert "name no label" in said(measured), "one of twenty is invalid"
    measured["contenders"]["tuned"]["invalid_rate"]["value"] = 0.0
    assert "name no label" not in said(measured)


def test_ranked_labels_are_named_where_they_are_better(measured: dict[str, Any]) -> None:
    tuned = measured["contenders"]["tuned"]["accuracy"]
    measured["contenders"]["tuned_rank_0"] = {"accuracy": {**tuned, "value": tuned["value"] + 0.05}}
    assert f"ranked ({tuned['value'] + 0.05:.1%}) than when it writes" in said(measured)
    measured["contenders"]["tuned_rank_0"]["accuracy"]["value"] = tuned["value"]
    assert "are ranked" not in said(measured)
