"""The report's traffic light: the conclusion for whoever decides about the model."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tunebook.metrics.intervals import LEVEL
from tunebook.metrics.schema import Comparison, Metrics, RetentionLine, Word
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.report import names

Color = Literal["green", "amber", "red"]
# loss of a share, or relative loss in bits per byte, that deserves attention even without a gate
LARGE_DROP = 0.10


class Light(NamedTuple):
    """A colour, the headline behind it, and the answer to "shall we ship it?"."""

    color: Color
    headline: str
    ship: str


def outcome(comparison: Comparison) -> Word:
    """Return the outcome of `a` compared with `b`; by `p_holm` if there is one."""
    p = comparison["p"] if comparison.get("p_holm") is None else comparison["p_holm"]
    if p is None or p >= LEVEL or not comparison["difference"]:
        return "no difference shown"
    up = HIGHER_IS_BETTER[comparison["metric"]]
    return "better" if (comparison["difference"] > 0) == up else "worse"


def against(measured: Metrics, other: str) -> Comparison | None:
    """Return the comparison of the primary metric with contender `other`."""
    same = (c for c in measured["comparisons"] if c["b"] == other and c["metric"] == measured["primary"])
    return next(same, None)


def free_is_as_good(measured: Metrics) -> bool:
    """Return whether the linear SVM does as well, that is, is not shown to be worse than the fine-tuned
    model."""
    found = against(measured, names.SVM)
    return found is not None and outcome(found) != "better"


def large_drops(measured: Metrics) -> list[RetentionLine]:
    """Return the tasks without a gate with a large loss, the largest first."""
    lost = [
        line
        for line in measured["retention"] or []
        if line["margin"] is None
        and line.get("takes_part", True)
        and line["drop"] >= LARGE_DROP
        and (line["low"] is None or line["low"] > 0)
    ]
    return sorted(lost, key=lambda line: -line["drop"])


def largest_drop(measured: Metrics) -> RetentionLine | None:
    """Return the task with the largest loss, or None if nothing was measured."""
    lines = [line for line in measured["retention"] or [] if line.get("takes_part", True)]
    return max(lines, key=lambda line: line["drop"], default=None)


def traffic_light(measured: Metrics, answers_read: bool = False) -> Light:
    """Return the traffic light of a run.

    Green: better than the best prompt of the base model, not matched by a free classifier, and no large loss
    of ability without a gate. Red: worse, or a failed gate. Amber: everything else.

    Args:
        answers_read: whether people or a judge compared the answers.
    """
    color, headline, ship = _by_numbers(measured, answers_read)
    if color != "red" and measured["split"] != "test":
        ship = "Not yet: these are results on the dev split. Run without EVAL=quick first."
    elif color == "green" and measured["tier"] == "trial":
        ship = (
            "Not this model: the trial tier only tests the pipeline and the data. Next: the real tier "
            "(make plan)."
        )
    return Light(color, headline, ship)


def _by_numbers(measured: Metrics, answers_read: bool) -> Light:
    failed = [gate["name"] for gate in measured["gates"] if gate["passed"] is False]
    if measured["verdict"] == "worse":
        ship = "No: the best prompt of the base model is better and needs no training."
        return Light("red", "Worse than the best prompt of the base model.", ship)
    if failed:
        lead = (
            "Better than the best prompt, but"
            if measured["verdict"] == "better"
            else "No difference shown, and"
        )
        gates = ", ".join(map(names.gate, failed))
        return Light("red", f"{lead} a limit set in advance is missed: {gates}.", "No: a gate failed.")
    if measured["verdict"] != "better":
        ship = "No: it is not shown to be better than a prompt, which needs no training."
        return Light("amber", "No better than the best prompt, as far as these examples can show.", ship)
    if free_is_as_good(measured):
        text = "Better than the best prompt, but no better than a classifier that costs nothing."
        return Light("amber", text, "No: the linear SVM does as well, trains in a second and needs no GPU.")
    drops = large_drops(measured)
    if drops:
        task = names.task(drops[0]["task"])
        text = f"Better than the best prompt, but a large loss of an ability without a gate: {task}."
        return Light("amber", text, "Only for this one task: see what it forgot elsewhere.")
    if measured["primary"] == "loss" and not answers_read:
        return Light(
            "green", "Better than the best prompt in form.", "Not before people have read its answers."
        )
    return Light("green", "Better than the best prompt.", "Yes, as far as these numbers go.")
