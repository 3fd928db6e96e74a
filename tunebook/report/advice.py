"""What to try next, computed from a run's own numbers: one sentence each, the most pressing first."""

from __future__ import annotations

from typing import Any


def next_steps(measured: dict[str, Any], history: dict[str, Any]) -> list[str]:
    """Return what the numbers of `metrics.json` and the training log (`history.json`) suggest."""
    steps = []
    name = measured["recipe"]
    forgot = [item for item in measured.get("retention") or [] if item["passed"] is False]
    if forgot:
        said = ", ".join(item["task"] for item in forgot)
        steps.append(
            f"It forgot too much ({said}): halve learning_rate or num_epochs, or mix in general rows "
            "(docs/forgetting.md)."
        )
    lost = [r for r in measured.get("retention") or [] if r["margin"] is None and (r["low"] or 0) > 0]
    if lost:
        said = ", ".join(f"{item['task']} {item['base']:.2f} to {item['tuned']:.2f}" for item in lost)
        steps.append(
            f"It does worse at what has no gate for this task ({said}). Where it must still do that, mix in "
            "general rows (docs/forgetting.md)."
        )
    dev = [(entry["step"], entry["eval_loss"]) for entry in history["log"] if "eval_loss" in entry]
    if len(dev) > 1:
        step, least = min(dev, key=lambda pair: pair[1])
        if step != dev[-1][0] and dev[-1][1] > 1.02 * least:
            steps.append(
                f"Dev loss was lowest at step {step} and rose after it: fewer epochs, or a lower rate."
            )
        elif dev[-1][1] < 0.98 * dev[-2][1]:
            steps.append("Dev loss was still falling at the end: more epochs may help.")
    checkpoints = measured.get("checkpoints")
    if checkpoints and checkpoints["shipped"] != checkpoints["last"]:
        steps.append(
            f"The checkpoint of step {checkpoints['shipped']} was better on dev than the last one and ships."
        )
    main = _main(measured)
    if measured["verdict"] == "no difference shown" and main.get("detectable"):
        steps.append(
            f"This test split can show a difference of {main['detectable']:.3f} in {main['metric']}; "
            f"{abs(main['difference']):.3f} was seen. More test rows, or groups, would tell."
        )
    if measured["verdict"] == "worse":
        steps.append(
            f"Prompting the base is better than this tune. Look at the rows (make data NAME={name}) and "
            "at the rate: a sweep over a tenth and ten times of it costs two short runs."
        )
    svm = _against(measured, "svm")
    if svm and svm["p"] is not None and svm["p"] < 0.05 and svm["difference"] < 0:
        steps.append(
            "A linear classifier that trains in a second is better. Ship that, or see whether more rows "
            f"change it (make sweep NAME={name} OVER=rows=100,200,all)."
        )
    tuned = measured["contenders"]["tuned"]
    invalid = (tuned.get("invalid_rate") or {}).get("value")
    if invalid is not None and invalid > 0.02:
        steps.append("Some answers are no label: train longer, or rank the labels when you use the model.")
    stop = (tuned.get("stop_rate") or {}).get("value")
    if stop is not None and stop < 0.9:
        steps.append(
            f"{1 - stop:.0%} of the answers ran into the cap: see whether the turn end is trained (check), "
            "or whether references are longer than the cap."
        )
    if measured["split"] != "test":
        steps.append("These numbers are of the dev split. Run without EVAL=quick for the test split.")
    elif measured.get("style") is None:
        steps.append("EVAL=full also asks in other words and formats than it was trained on.")
    if measured["tier"] == "trial":
        steps.append(
            "The trial tier proves the path and the data. The model you want is made on the real tier."
        )
    return steps


def _main(measured: dict[str, Any]) -> dict[str, Any]:
    return _against(measured, measured["baseline"]) or {}


def _against(measured: dict[str, Any], other: str) -> dict[str, Any] | None:
    """Return the comparison of the primary metric with `other`."""
    primary = measured["primary"]
    return next((c for c in measured["comparisons"] if c["b"] == other and c["metric"] == primary), None)
