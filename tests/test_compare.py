"""From answers to metrics.json, against scikit-learn and a hand-made run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.helpers import BASELINE, CONTENDERS, make_run
from tunebook.compare import apply_gates, compare, macro_f1, word
from tunebook.run import Run, read_json
from tunebook.suite import Suite

KEYS = set(
    "schema recipe tier seed split rows groups primary model dataset hardware trained_tokens steps "
    "contenders dev baseline comparisons retention token_agreement_unmerged_merged gates verdict "
    "changed_weights sentence seconds peak_memory_gib peak_memory_by_stage_gib".split()
)


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = int(rng.integers(2, 9))
    gold, predicted = rng.integers(0, labels, 40), rng.integers(-1, labels, 40)
    there = sorted({*gold, *predicted} - {-1})
    told = np.where(predicted < 0, labels, predicted)  # an invalid answer is a label that nobody scores
    expected = f1_score(gold, told, labels=there, average="macro", zero_division=0)
    assert macro_f1(gold, predicted, labels) == pytest.approx(expected)


def test_macro_f1_at_its_ends() -> None:
    gold = np.array([0, 1, 1, 2])
    assert macro_f1(gold, gold, 5) == 1
    assert macro_f1(gold, np.full(4, -1), 5) == 0
    # Half of label 1 found, nothing else said: F1 is 1, 2/3 and 1.
    assert macro_f1(gold, np.array([0, 1, -1, 2]), 3) == pytest.approx((1 + 2 / 3 + 1) / 3)


@pytest.mark.parametrize(
    ("metric", "difference", "p", "expected"),
    [
        ("accuracy", 0.1, 0.01, "better"),
        ("accuracy", -0.1, 0.01, "worse"),
        ("loss", -0.1, 0.01, "better"),
        ("loss", 0.1, 0.01, "worse"),
        ("invalid_rate", 0.1, 0.01, "worse"),
        ("accuracy", 0.1, 0.05, "no difference shown"),
        ("accuracy", -0.1, 0.6, "no difference shown"),
        ("loss", -0.1, None, "no difference shown"),
        ("accuracy", 0.0, 0.01, "no difference shown"),
    ],
)
def test_word(metric: str, difference: float, p: float | None, expected: str) -> None:
    assert word({"metric": metric, "difference": difference, "p": p}) == expected


def gate(
    bounds: dict[str, Any], value: float | None, retention: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the outcome of a gate called `it` on a tuned model that measured `value`."""
    suite = Suite(
        primary="accuracy",
        shots=0,
        max_new_tokens=1,
        dev_rows=1,
        generate_rows=None,
        agreement_rows=0,
        retention=None,
        gates={"it": bounds},
    )
    (found,) = apply_gates(suite, {"tuned": {"it": {"value": value}}, "svm": {}}, retention)
    return found


@pytest.mark.parametrize(
    ("bounds", "value", "passed"),
    [
        ({"at_least": 0.8}, 0.8, True),
        ({"at_least": 0.8}, 0.79, False),
        ({"at_least": 0.0}, -0.1, False),
        ({"at_most": 0.05}, 0.05, True),
        ({"at_most": 0.05}, 0.06, False),
        ({"at_most": 0.0}, 0.0, True),
        ({"at_least": 0.2, "at_most": 0.4}, 0.3, True),
        ({"at_least": 0.2, "at_most": 0.4}, 0.5, False),
        ({"at_least": 0.8}, None, None),
        ({"at_most": 0.8, "contender": "svm"}, 0.5, None),
    ],
)
def test_gates(bounds: dict[str, Any], value: float | None, passed: bool | None) -> None:
    found = gate(bounds, value)
    assert found["passed"] is passed
    assert found["value"] == (None if passed is None else value)


@pytest.mark.parametrize(
    ("high", "passed"), [(0.24, True), (0.25, True), (0.26, False), (-0.1, True), (None, None)]
)
def test_retention_gate_looks_at_the_upper_end(high: float | None, passed: bool | None) -> None:
    found = gate({"increase_at_most": 0.25}, None, {"rise": 0.1, "low": 0.0, "high": high})
    assert found["passed"] is passed
    assert found["value"] == high
    assert found["bound"] == 0.25


def test_retention_gate_without_retention() -> None:
    assert gate({"increase_at_most": 0.25}, None)["passed"] is None


@pytest.mark.parametrize("task", CONTENDERS)
def test_metrics_json_has_the_documented_form(task: str, handmade: Callable[..., Run]) -> None:
    run = handmade(task)
    text = (run / "metrics.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(found) == KEYS
    assert (found["tier"], found["split"], found["rows"], found["groups"]) == ("trial", "test", 20, 10)
    assert list(found["contenders"]) == CONTENDERS[task]
    metrics = {
        "classification": {"accuracy", "macro_f1", "invalid_rate", "stop_rate"},
        "qa": {"f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em", "stop_rate"},
        "chat": {"loss", "chrf", "rules", "stop_rate", "length_ratio"},
    }[task]
    for measures in found["contenders"].values():
        assert set(measures) == metrics
        for measure in measures.values():
            assert set(measure) == {"value", "n", "groups", "low", "high", "higher_is_better"}
    for comparison in found["comparisons"]:
        assert set(comparison) == {"metric", "a", "b", "difference", "low", "high", "p", "n", "groups"}
        assert comparison["a"] == "tuned"
    others = {c["b"] for c in found["comparisons"] if c["metric"] == found["primary"]}
    assert others == set(CONTENDERS[task]) - {"tuned"}
    assert set(found["retention"]) == {"base", "tuned", "rise", "low", "high", "passages"}
    assert all(set(item) == {"name", "value", "bound", "passed"} for item in found["gates"])
    assert found["dev"]["rows"] == 4
    assert set(found["dev"]["tried"]) == {name for name in CONTENDERS[task] if name.startswith("base")}
    assert found["seconds"] == dict.fromkeys(("check", "data", "train", "evaluate"), 1.5)
    assert found["peak_memory_gib"] == 2.5


def test_label_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade() / "metrics.json")
    value = {name: {m: x["value"] for m, x in of.items()} for name, of in found["contenders"].items()}
    # tests/helpers.py: row 0 of 20 is invalid and row 3 does not stop.
    assert value["tuned"]["accuracy"] == pytest.approx(19 / 20)
    assert value["tuned"]["invalid_rate"] == pytest.approx(1 / 20)
    assert value["tuned"]["stop_rate"] == pytest.approx(19 / 20)
    assert value["base_rank_k"]["accuracy"] == pytest.approx(5 / 20)
    assert value["base_generate_0"]["invalid_rate"] == pytest.approx(16 / 20)
    # Nothing is generated for ranked labels and the linear classifier: not measured, rather than 0.
    for name in ("base_rank_k", "svm"):
        assert value[name]["invalid_rate"] is value[name]["stop_rate"] is None
    main = next(c for c in found["comparisons"] if c["b"] == "base_rank_k" and c["metric"] == "accuracy")
    assert main["difference"] == pytest.approx(19 / 20 - 5 / 20)
    assert main["low"] < main["difference"] < main["high"]
    assert found["verdict"] == "better"
    passed = {item["name"]: item["passed"] for item in found["gates"]}
    assert passed == {"invalid_rate": False, "retention_loss": True}


def test_answer_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade("qa") / "metrics.json")
    tuned = {name: measure["value"] for name, measure in found["contenders"]["tuned"].items()}
    # tests/helpers.py: 4 of 20 without an answer; of the others 8 right, 7 with a word too many, 1 wrong.
    assert tuned["em"] == pytest.approx((4 + 8) / 20)
    assert tuned["f1"] == pytest.approx((4 + 8 + 7 * 0.8) / 20)
    assert tuned["has_answer_em"] == pytest.approx(8 / 16)
    assert tuned["no_answer_em"] == 1
    assert [found["contenders"]["tuned"][name]["n"] for name in ("has_answer_f1", "no_answer_em")] == [16, 4]
    assert found["verdict"] == "better"


def test_chat_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade("chat") / "metrics.json")
    assert found["verdict"] == "better", "a lower loss is better"
    main = next(c for c in found["comparisons"] if c["b"] == found["baseline"] and c["metric"] == "loss")
    assert main["difference"] == pytest.approx(-1 - (len("base_generate_k") - len("tuned")) / 1000)
    tuned = found["contenders"]["tuned"]
    assert (tuned["loss"]["n"], tuned["chrf"]["n"]) == (20, 10), "half of the answers are generated"
    assert tuned["stop_rate"]["value"] == 1
    assert not [c for c in found["comparisons"] if c["metric"] == "length_ratio"]
    assert found["retention"]["rise"] == pytest.approx(1.12 / 1.02 - 1)


@pytest.mark.parametrize("task", CONTENDERS)
def test_the_sentence_names_everybody_and_the_tier(task: str, handmade: Callable[..., Run]) -> None:
    said = read_json(handmade(task) / "metrics.json")["sentence"]
    assert "trial tier" in said
    assert "20 rows" in said
    assert all(name in said for name in CONTENDERS[task])
    assert f"beats {BASELINE[task]}" in said
    assert ("Failed gates: invalid_rate" in said) == (task == "classification")


def test_without_retention_its_gate_is_not_measured(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade(retention=False) / "metrics.json")
    assert found["retention"] is None
    assert next(g for g in found["gates"] if g["name"] == "retention_loss")["passed"] is None
    assert "retention_loss" not in found["sentence"]


def test_too_few_groups_show_no_difference(tmp_path: Path) -> None:
    run = make_run(tmp_path, groups=2)
    compare(run)
    found = read_json(run / "metrics.json")
    assert found["verdict"] == "no difference shown"
    assert found["contenders"]["tuned"]["accuracy"]["low"] is None
