"""The comparison: from the answers of every contender to metrics.json, with intervals and gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from tunebook.core.files import file_sha256, read_json
from tunebook.evaluation.contenders import TUNED_RANKED
from tunebook.evaluation.forgetting import retained
from tunebook.evaluation.style import styled
from tunebook.evaluation.suite import Suite
from tunebook.metrics.aggregate import confusion, details, difference, measure, per_class
from tunebook.metrics.intervals import holm
from tunebook.metrics.schema import Comparison, GateLine, Measured, Metrics, write_metrics
from tunebook.report import names
from tunebook.report.answers import read_answers
from tunebook.report.format import number
from tunebook.report.light import outcome, traffic_light
from tunebook.report.parity import again, parity_lines
from tunebook.report.turns import scored_turns
from tunebook.runs.events import interruptions
from tunebook.runs.rows import read_rows
from tunebook.runs.run import Run

# Metrics that restate another one (byte_perplexity: loss) or for which higher is neither good nor bad.
NOT_COMPARED = ("byte_perplexity", "length_ratio")


def correct(comparisons: list[Comparison], main: Comparison) -> None:
    """Fill in `p_holm` of all comparisons except `main`, which alone decides the verdict and is not
    corrected."""
    others = [c for c in comparisons if c is not main and c["p"] is not None]
    for comparison, p in zip(others, holm([c["p"] or 0.0 for c in others]), strict=True):
        comparison["p_holm"] = p


def _value(measured: dict[str, Measured], name: str) -> float | None:
    return measured[name]["value"] if name in measured else None


def apply_gates(
    suite: Suite,
    contenders: dict[str, dict[str, Measured]],
    retention: Sequence[Mapping[str, Any]],
    style: Mapping[str, Any] | None,
) -> list[GateLine]:
    """Return each gate with its value and bound; `passed` is None if nothing was measured.

    Metrics of a contender are compared with bounds, some of them relative to the base model's value; losses
    of ability and losses with other prompt styles are compared by the upper end of their intervals with their
    margins (non-inferiority).
    """
    gates: list[GateLine] = []
    for name, gate in suite.gates.items():
        value = _value(contenders[gate.contender], name)
        if gate.times and value is not None:
            whole = _value(contenders[gate.times], name)
            value = value / whole if whole else None
        low, high = gate.at_least, gate.at_most
        inside = value is not None and (low is None or value >= low) and (high is None or value <= high)
        passed = None if value is None else inside
        gates.append(
            {"name": name, "value": value, "bound": low if low is not None else high, "passed": passed}
        )
    margins: list[tuple[str, Mapping[str, Any]]] = [(f"retention_{item['task']}", item) for item in retention]
    margins += [(f"style_{item['condition']}", item) for item in (style or {}).get("conditions", [])]
    gates += [
        {"name": name, "value": item["high"], "bound": item["margin"], "passed": item["passed"]}
        for name, item in margins
        if item["margin"] is not None
    ]
    return gates


def compare(run: Run) -> str:
    """Write metrics.json of `run` and return a summary of the comparison."""
    settings, choice = run.settings(), run.choice()
    manifest, history = run.manifest(), run.history()
    suite = Suite.model_validate(settings["suite"])
    keys, baseline, split = choice["contenders"], choice["baseline"], choice["split"]
    folder = run / "eval" / "answers"
    task, labels = settings["dataset"]["task"], settings["dataset"]["labels"]
    answers = read_answers(run, keys, split, labels)
    contenders = {name: measure(records, task, labels) for name, records in answers.items()}
    metrics = [suite.primary, *(name for name in contenders["tuned"] if name != suite.primary)]
    comparisons: list[Comparison] = [
        cast(Comparison, found)
        for other in keys
        if other != "tuned"
        for metric in metrics
        if metric not in NOT_COMPARED
        if (found := difference(metric, "tuned", other, answers, labels))
    ]
    train, rows = (read_rows(run / "data" / f"{name}.jsonl") for name in ("train", split))
    retention = retained(folder, suite.retention)
    style = styled(folder, suite.style, answers["tuned"], train) if suite.style else None
    gates = apply_gates(suite, contenders, retention, style)
    main = next(c for c in comparisons if c["metric"] == suite.primary and c["b"] == baseline)
    correct(comparisons, main)
    matrix = confusion(answers["tuned"], labels) if labels else None
    stages = run.state()["stages"]
    peaks = read_json(run / "eval" / "usage.json", {})
    values = {
        "schema": 1,
        "recipe": settings["recipe"],
        "tier": settings["tier"],
        "seed": settings["seed"],
        "split": split,
        "rows": len(answers["tuned"]),
        "groups": contenders["tuned"][suite.primary]["groups"],
        "rows_sha256": file_sha256(run / "data" / f"{split}.jsonl"),
        "primary": suite.primary,
        "model": manifest["base_model"],
        "dataset": settings["dataset"]["name"],
        "hardware": manifest["hardware"],
        "trained_tokens": history["trained_tokens"],
        "steps": history["steps"],
        "changed_weights": history.get("changed"),
        "contenders": contenders,
        "dev": {"rows": choice["dev_rows"], "tried": choice["tried_on_dev"]},
        "baseline": baseline,
        "comparisons": comparisons,
        "details": {name: details(records) for name, records in answers.items()},
        "confusion": matrix,
        "per_class": per_class(np.array(matrix["matrix"]), labels) if matrix else None,
        "retention": retention,
        "style": style,
        "checkpoints": choice.get("checkpoints"),
        "turns": scored_turns(rows, answers["tuned"]) if task == "chat" else None,
        "train_rows": len(train) if history.get("train_rows") is None else history["train_rows"],
        "given_rows": len(train),
        "latency": choice.get("latency"),
        "token_agreement_unmerged_merged": choice["token_agreement_unmerged_merged"],
        "gates": gates,
        "verdict": outcome(main),
        "sentence": "",  # computed from all other fields below
        "seconds": {name: entry["seconds"] for name, entry in stages.items() if name != "compare"},
        "peak_memory_gib": max(peaks.values()) if peaks else None,
        "peak_memory_by_stage_gib": peaks,
        "interruptions": interruptions(run),
    }
    measured = cast(Metrics, values)
    exports, old = parity_lines(run)
    if exports:
        measured["exports"] = exports
    if old:
        measured["exports_to_measure_again"] = old
    measured["sentence"] = sentence(measured, main, choice.get("shots_used", suite.shots))
    measured["light"] = traffic_light(measured).color
    write_metrics(run / "metrics.json", measured)
    counts = ", ".join(
        f"{len(some)} {what}{'' if len(some) == 1 else 's'}"
        for some, what in ((comparisons, "comparison"), (gates, "gate"))
    )
    return counts + "".join(f"; {again(name)}" for name in old)


def _significance(comparison: Comparison) -> str:
    """Return how certain a comparison is; if no difference is shown, also what these examples could have
    shown."""
    if comparison["p"] is None:
        sure = "too few groups for a test"
    elif comparison["p_holm"] is None:
        sure = names.p_value(comparison["p"])
    else:
        sure = f"corrected {names.p_value(comparison['p_holm'])}"
    enough, metric, seen = comparison["detectable"], comparison["metric"], comparison["difference"]
    if outcome(comparison) == "no difference shown" and enough and enough > abs(seen):
        way, examples = "lower" if seen < 0 else "higher", names.count(comparison["n"], "example")
        sure += (
            f"; {names.amount(metric, seen)} {way}, and {examples} can show {names.amount(metric, enough)}"
        )
    return sure


def _main_clause(measured: Metrics, main: Comparison, shots: int | None) -> str:
    """Return the sentence that says what was evaluated, with the primary metric before and after."""
    metric, measures = main["metric"], measured["contenders"]
    before, after = (number(metric, measures[main[side]][metric]["value"]) for side in ("b", "a"))
    on = f"{names.count(main['n'], measured['split'] + ' example')} of {measured['dataset']}"
    title = f"best prompt of the base ({names.prompting(main['b'], shots)})"
    word, subject = outcome(main), f"{names.metric(metric)} on {on}"
    if word == "no difference shown":
        change = f"is {before} with the {title} and {after} fine-tuned: no difference shown"
    else:
        verb = "rose" if main["difference"] > 0 else "fell"
        change = f"{verb} from {before} with the {title} to {after} fine-tuned: {word}"
    return f"{subject} {change} ({names.direction(metric)}; {_significance(main)})"


def _other_clause(comparison: Comparison, main: Comparison, shots: int | None) -> str:
    """Return the comparison with a contender other than the baseline."""
    metric, word = comparison["metric"], outcome(comparison)
    seen = names.amount(metric, comparison["difference"])
    by = "" if word == "no difference shown" else f" by {seen}"
    unit = "" if metric == main["metric"] else f" in {names.metric(metric)}"
    rows = "" if comparison["n"] == main["n"] else f"{names.count(comparison['n'], 'example')}, "
    title = names.contender(comparison["b"], main["b"], shots)
    return f"Against the {title}: {word}{by}{unit} ({rows}{_significance(comparison)})"


def sentence(measured: Metrics, main: Comparison, shots: int | None) -> str:
    """Return the verdict in a few sentences: the change compared with the best prompt, then each other
    contender by the first metric measured for both (an endpoint's answers have no loss), then the failed
    gates."""
    shown = {main["b"]: main}
    for comparison in measured["comparisons"]:
        shown.setdefault(comparison["b"], comparison)
    shown.pop(TUNED_RANKED.name, None)  # the same model
    others = [_other_clause(c, main, shots) for c in shown.values() if c is not main]
    failed = [names.gate(gate["name"]) for gate in measured["gates"] if gate["passed"] is False]
    tail = [f"Failed gates: {', '.join(failed)}"] if failed else []
    lead = f"{measured['recipe']} ({measured['tier']} tier): {_main_clause(measured, main, shots)}"
    return ". ".join([lead, *others, *tail]) + "."
