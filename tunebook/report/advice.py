"""What to try next and what is at risk, derived from a run's own numbers, the most urgent first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunebook.evaluation.contenders import TUNED_RANKED
from tunebook.metrics.schema import Metrics
from tunebook.report import names
from tunebook.report.light import against, large_drops, outcome

JUDGED_BY_FORM = ("loss", "preference")  # primary metrics that a wrong fact barely lowers


def risks(measured: Metrics, answers_read: bool, address: str) -> list[str]:
    """Return the remaining risks of this model, one sentence each.

    Args:
        answers_read: whether people or a judge compared the answers.
        address: the run as RUN=, recipe/id.
    """
    primary, tuned = measured["primary"], measured["contenders"][names.TUNED]
    texts = []
    if primary in JUDGED_BY_FORM and not answers_read:
        texts.append(
            "The form is better, but the facts may not be: the numbers compare wording, and neither a "
            f"person nor a judge has compared the answers. Compare them blind: make review RUN={address}"
        )
    for metric in ("accuracy", "em"):
        value = tuned[metric]["value"] if metric in tuned else None
        if value is not None:
            texts.append(
                f"About {round(100 * (1 - value))} of 100 answers will be wrong, if new examples are like "
                "these."
            )
    stop = tuned["stop_rate"]["value"] if "stop_rate" in tuned else None
    if stop is not None and stop < 0.9:
        texts.append(f"{1 - stop:.0%} of the answers reached the length limit and are cut off.")
    unfinished = tuned["unfinished_rate"]["value"] if "unfinished_rate" in tuned else None
    if unfinished:
        texts.append(f"{unfinished:.0%} of the answers end inside the reasoning, before the answer itself.")
    if measured["groups"] < 20:
        texts.append(
            f"The numbers are based on only {names.count(measured['groups'], 'group')} of test examples."
        )
    return texts


def next_steps(measured: Metrics, history: Mapping[str, Any]) -> list[str]:
    """Return the next steps, from `metrics.json` and the training log (`history.json`)."""
    steps = []
    recipe, retention = measured["recipe"], measured["retention"] or []
    forgotten = ", ".join(names.task(line["task"]) for line in retention if line["passed"] is False)
    if forgotten:
        steps.append(
            f"The model forgot too much ({forgotten}). Halve learning_rate or num_epochs, or mix in general "
            "examples (docs/forgetting.md)."
        )
    lost = large_drops(measured) or [r for r in retention if r["margin"] is None and (r["low"] or 0) > 0]
    if lost:
        numbers = ", ".join(
            f"{names.task(line['task'])} {names.task_number(line['kind'], line['base'])} to "
            f"{names.task_number(line['kind'], line['tuned'])}"
            for line in lost
        )
        steps.append(
            f"The model lost abilities that have no gate in this recipe ({numbers}). If you need them, mix "
            "in general examples (docs/forgetting.md)."
        )
    svm = against(measured, names.SVM)
    if svm and outcome(svm) != "better":
        lead = {
            "worse": "is better",
            "no difference shown": "does as well, as far as these examples can show",
        }
        steps.append(
            f"A linear classifier that trains in a second {lead[outcome(svm)]}. Use it instead, or check "
            f"whether more data helps: make sweep NAME={recipe} OVER=rows=100,200,all."
        )
    steps += _about_training(measured, history)
    main = against(measured, measured["baseline"])
    if measured["verdict"] == "no difference shown" and main and main["detectable"]:
        steps.append(
            f"These examples can show a difference of {names.amount(main['metric'], main['detectable'])}, "
            f"but the measured difference is {names.amount(main['metric'], main['difference'])}. More test "
            "examples, or groups, are needed to decide."
        )
    if measured["verdict"] == "worse":
        steps.append(
            f"Prompting the base model beats this fine-tune. Inspect the data (make data NAME={recipe}) and "
            "the learning rate: a sweep over a tenth and ten times of it costs two short runs."
        )
    return steps + _about_answers(measured)


def _about_training(measured: Metrics, history: Mapping[str, Any]) -> list[str]:
    """Return the next steps suggested by the dev loss and the checkpoints."""
    steps = []
    dev = [(entry["step"], entry["eval_loss"]) for entry in history["log"] if "eval_loss" in entry]
    if len(dev) > 1:
        step, least = min(dev, key=lambda pair: pair[1])
        if step != dev[-1][0] and dev[-1][1] > 1.02 * least:
            steps.append(
                f"Dev loss was lowest at step {step} and rose afterwards: try fewer epochs or a lower "
                "learning rate."
            )
        elif dev[-1][1] < 0.98 * dev[-2][1]:
            steps.append("Dev loss was still falling at the end: more epochs may help.")
    checkpoints = measured["checkpoints"]
    if checkpoints and checkpoints["shipped"] != checkpoints["last"]:
        steps.append(
            f"The checkpoint of step {checkpoints['shipped']} was better on dev than the last one, so it is "
            "the one shipped."
        )
    return steps


def _about_answers(measured: Metrics) -> list[str]:
    """Return the next steps suggested by the answers, and those for numbers that are still missing."""
    steps, tuned = [], measured["contenders"][names.TUNED]
    invalid = tuned["invalid_rate"]["value"] if "invalid_rate" in tuned else None
    if invalid is not None and invalid > 0.02:
        steps.append("Some answers name no label: train longer, or rank the labels, as make predict does.")
    ranked = measured["contenders"].get(TUNED_RANKED.name, {}).get("accuracy")
    written = tuned.get("accuracy")
    if ranked and written and (ranked["value"] or 0) > (written["value"] or 0):
        steps.append(
            f"The model does better when its labels are ranked ({ranked['value']:.1%}) than when it writes "
            f"them ({written['value']:.1%}): make predict ranks them."
        )
    stop = tuned["stop_rate"]["value"] if "stop_rate" in tuned else None
    if stop is not None and stop < 0.9:
        steps.append(
            f"{1 - stop:.0%} of the answers reached the length limit: check whether the end-of-turn token "
            "is trained (make check), or whether the references are longer than the limit."
        )
    unfinished = tuned["unfinished_rate"]["value"] if "unfinished_rate" in tuned else None
    if unfinished:
        steps.append(
            f"{unfinished:.0%} of the answers end inside the reasoning: raise thinking_tokens in eval.yaml, "
            "or train longer."
        )
    if measured["split"] != "test":
        steps.append(
            "These are results on the dev split. Run without EVAL=quick to evaluate on the test split."
        )
    elif measured["style"] is None:
        steps.append("EVAL=full also evaluates prompts in other styles than the trained one.")
    if measured["tier"] == "trial":
        steps.append(
            "The trial tier only tests the pipeline and the data. Train the model you want on the real tier."
        )
    return steps
