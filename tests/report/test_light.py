"""Which colour a run gets, and what its report says can still go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunebook.core.files import read_json
from tunebook.report.advice import risks
from tunebook.report.light import free_is_as_good, large_drops, largest_drop, traffic_light
from tunebook.report.report import write_report
from tunebook.runs.run import Run

LOST = {"task": "tasks", "kind": "checks", "base": 0.7, "tuned": 0.4, "drop": 0.3, "low": 0.2, "margin": None}
LOST |= {"passed": None, "takes_part": True}
GATE = {"name": "invalid_rate", "value": 0.5, "bound": 0.01, "passed": False}


@pytest.fixture
def measured(handmade: Callable[..., Run]) -> dict[str, Any]:
    """A run on the real tier that is better than the best prompt, with nothing against it."""
    made = read_json(handmade() / "metrics.json")
    made |= {"tier": "real", "retention": [], "gates": [], "verdict": "better"}
    svm = next(c for c in made["comparisons"] if c["b"] == "svm" and c["metric"] == made["primary"])
    svm |= {"difference": 0.4, "p": 0.001, "p_holm": 0.001}
    return made


def of_svm(measured: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the run with another comparison with the linear SVM."""
    changed = [
        {**c, **changes} if (c["b"], c["metric"]) == ("svm", measured["primary"]) else c
        for c in measured["comparisons"]
    ]
    return {**measured, "comparisons": changed}


def test_better_with_nothing_against_it_is_green(measured: dict[str, Any]) -> None:
    light = traffic_light(measured)
    assert light.color == "green" and light.ship.startswith("Yes")


@pytest.mark.parametrize("verdict", ["worse", "better", "no difference shown"])
def test_worse_or_a_failed_gate_is_red(measured: dict[str, Any], verdict: str) -> None:
    gates = [] if verdict == "worse" else [GATE]
    light = traffic_light({**measured, "verdict": verdict, "gates": gates})
    assert light.color == "red" and light.ship.startswith("No:")
    assert ("gate" in light.ship) == bool(gates)


@pytest.mark.parametrize("passed", [True, None])
def test_a_gate_that_passed_or_was_not_measured_changes_nothing(
    measured: dict[str, Any], passed: bool | None
) -> None:
    assert traffic_light({**measured, "gates": [{**GATE, "passed": passed}]}).color == "green"


def test_no_difference_is_amber(measured: dict[str, Any]) -> None:
    light = traffic_light({**measured, "verdict": "no difference shown"})
    assert light.color == "amber" and light.ship.startswith("No:")


@pytest.mark.parametrize(
    ("changes", "as_good"),
    [
        ({"difference": 0.4, "p_holm": 0.001}, False),
        ({"difference": 0.01, "p_holm": 0.6}, True),  # no difference shown
        ({"difference": -0.2, "p_holm": 0.001}, True),  # the classifier is better
        ({"difference": 0.0, "p_holm": None, "p": None}, True),
    ],
)
def test_a_free_classifier_that_does_as_well_is_amber(
    measured: dict[str, Any], changes: dict[str, Any], as_good: bool
) -> None:
    run = of_svm(measured, **changes)
    assert free_is_as_good(run) == as_good
    assert traffic_light(run).color == ("amber" if as_good else "green")


def test_a_task_without_a_free_classifier_is_not_amber_for_it(measured: dict[str, Any]) -> None:
    others = [c for c in measured["comparisons"] if c["b"] != "svm"]
    assert not free_is_as_good({**measured, "comparisons": others})
    assert traffic_light({**measured, "comparisons": others}).color == "green"


@pytest.mark.parametrize(
    ("changes", "large"),
    [
        ({}, True),
        ({"drop": 0.10}, True),
        ({"drop": 0.09}, False),
        ({"low": -0.01}, False),  # its interval holds 0
        ({"low": None}, True),  # too few items for an interval
        ({"takes_part": False}, False),
        ({"margin": 0.5, "passed": True}, False),  # a gate judges it
    ],
)
def test_a_large_loss_without_a_gate_is_amber(
    measured: dict[str, Any], changes: dict[str, Any], large: bool
) -> None:
    run = {**measured, "retention": [{**LOST, **changes}]}
    assert bool(large_drops(run)) == large
    assert traffic_light(run).color == ("amber" if large else "green")


def test_the_largest_loss_is_named_first(measured: dict[str, Any]) -> None:
    lines = [
        {**LOST, "drop": 0.2},
        {**LOST, "task": "sums", "drop": 0.6},
        {**LOST, "takes_part": False, "drop": 0.9},
    ]
    run = {**measured, "retention": lines}
    assert [line["drop"] for line in large_drops(run)] == [0.6, 0.2]
    assert (largest_drop(run) or {})["task"] == "sums"
    assert largest_drop({**measured, "retention": []}) is None


@pytest.mark.parametrize("changes", [{"tier": "trial"}, {"split": "dev"}])
def test_a_trial_or_the_dev_split_is_never_a_yes(measured: dict[str, Any], changes: dict[str, str]) -> None:
    light = traffic_light({**measured, **changes})
    assert light.color == "green" and light.ship.startswith("Not")
    red = traffic_light({**measured, **changes, "verdict": "worse"})
    assert red.color == "red" and red.ship.startswith("No:"), "what is worse is not a matter of the tier"


def test_answers_that_are_judged_by_a_loss_have_to_be_read(handmade: Callable[..., Run]) -> None:
    chat = read_json(handmade("chat") / "metrics.json")
    chat |= {"tier": "real", "retention": [], "gates": [], "verdict": "better"}
    unread, read = traffic_light(chat), traffic_light(chat, answers_read=True)
    assert (unread.color, read.color) == ("green", "green")
    assert unread.ship.startswith("Not before") and read.ship.startswith("Yes")


# Risks


def of(measured: dict[str, Any], answers_read: bool = False, **tuned: Any) -> list[str]:
    """Return the risks of a run whose fine-tuned model has other metrics; None removes one."""
    mine = {**measured["contenders"]["tuned"]}
    for name, value in tuned.items():
        mine[name] = {**mine.get(name, {}), "value": value}
    contenders = {**measured["contenders"], "tuned": mine}
    return risks({**measured, "groups": 40, "contenders": contenders}, answers_read, "classify-lora/abc")


def test_how_many_answers_will_be_wrong(measured: dict[str, Any]) -> None:
    (risk,) = of(measured, accuracy=0.93, stop_rate=1.0)
    assert "About 7 of 100" in risk
    assert of(measured, accuracy=None, stop_rate=1.0) == []


def test_answers_that_are_cut_off_are_a_risk(measured: dict[str, Any]) -> None:
    assert any("25%" in risk for risk in of(measured, stop_rate=0.75))
    assert not any("length limit" in risk for risk in of(measured, stop_rate=0.9))


def test_few_groups_are_a_risk(measured: dict[str, Any]) -> None:
    few = risks({**measured, "groups": 19}, False, "a/b")
    assert any("19 groups" in risk for risk in few)
    assert not any("groups" in risk for risk in risks({**measured, "groups": 20}, False, "a/b"))


@pytest.mark.parametrize("task", ["chat", "preference"])
def test_better_form_is_not_truer_until_somebody_has_read_the_answers(
    task: str, handmade: Callable[..., Run]
) -> None:
    chat = read_json(handmade(task) / "metrics.json")
    assert "make review RUN=classify-lora/abc" in of(chat, stop_rate=1.0)[0]
    assert of(chat, answers_read=True, stop_rate=1.0) == []


def test_the_report_shows_light_and_risks(handmade: Callable[..., Run]) -> None:
    run = handmade("chat")
    write_report(run)
    said = risks(read_json(run / "metrics.json"), False, f"{run.folder.resolve().parent.name}/run")
    assert len(said) >= 2, "of answers that nobody has read, and of ten groups"
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        for risk in said:
            assert risk.partition(":")[0] in text, name
