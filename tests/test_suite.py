"""Evaluation settings: per-tier values, a recipe's own eval.yaml, and faults found before training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunebook import recipes, suite
from tunebook.errors import InputError

RECIPE = recipes.load("chat-lora")


def test_each_tier_gets_its_values() -> None:
    trial, real = (suite.load(RECIPE, "chat", tier, "default") for tier in ("trial", "real"))
    assert (trial.max_new_tokens, trial.generate_rows, trial.dev_rows) == (64, 48, 40)
    assert (real.max_new_tokens, real.generate_rows, real.dev_rows) == (512, None, 200)
    assert suite.load(RECIPE, "chat", "trial", "full").generate_rows is None


def test_a_gate_may_be_a_multiple_of_the_plain_base_only() -> None:
    gates = {"loss": {"times": "svm", "at_most": 1.05}}
    with pytest.raises(InputError, match=r"gates\.loss\.times"):
        suite.load(replace(RECIPE, eval={"gates": gates}), "preference", "trial", "default")


@pytest.mark.parametrize(
    "gates", [{"acuracy": {"at_least": 0.5}}, {"accuracy": {"contender": "tunned", "at_least": 0.5}}]
)
def test_a_gate_that_could_never_fail_is_refused(gates: dict) -> None:
    with pytest.raises(InputError, match="gates"):
        suite.load(replace(RECIPE, eval={"gates": gates}), "chat", "trial", "default")
