"""The comparison: from the answers of every contender to metrics.json, with intervals and gates."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tunebook.core.files import read_json, read_jsonl, write_json
from tunebook.evaluation.forgetting import retained
from tunebook.evaluation.style import styled
from tunebook.evaluation.suite import Suite
from tunebook.metrics.aggregate import Measure, confusion, details, difference, measure, per_class
from tunebook.metrics.intervals import LEVEL, holm
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.report.answers import read_answers
from tunebook.runs.events import interruptions
from tunebook.runs.run import Run

# Restated by another metric (byte_perplexity by loss) or neither good nor bad when higher.
NOT_COMPARED = ("byte_perplexity", "length_ratio")
UNITS = {"loss": "bits per byte", "reward": "nats of reward"}
VERBS = {"better": "beats", "worse": "loses to", "no difference shown": "shows no difference from"}


def word(comparison: dict[str, Any]) -> str:
    """Return better, worse or no difference shown, for `a` against `b`; by `p_holm` where there is one."""
    p = comparison["p"] if comparison.get("p_holm") is None else comparison["p_holm"]
    if p is None or p >= LEVEL or not comparison["difference"]:
        return "no difference shown"
    up = HIGHER_IS_BETTER[comparison["metric"]]
    return "better" if (comparison["difference"] > 0) == up else "worse"


def correct(comparisons: list[dict[str, Any]], main: dict[str, Any]) -> None:
    """Fill `p_holm` of all comparisons but `main`, which alone decides the verdict and stays as it is."""
    others = [c for c in comparisons if c is not main and c["p"] is not None]
    for comparison, p in zip(others, holm([c["p"] for c in others]), strict=True):
        comparison["p_holm"] = p


def apply_gates(
    suite: Suite,
    contenders: dict[str, dict[str, Measure]],
    retention: list[dict[str, Any]],
    style: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return each gate with its value and bound; `passed` is null where nothing was measured.

    Metrics of a contender are held against bounds, some as so many times the base's own; what was
    forgotten, and what other ways of asking cost, by the upper end of their intervals against their margins
    (non-inferiority).
    """
    gates = []
    for name, gate in suite.gates.items():
        value = contenders[gate.contender].get(name, {}).get("value")
        if gate.times and value is not None:
            whole = contenders[gate.times].get(name, {}).get("value")
            value = value / whole if whole else None
        low, high = gate.at_least, gate.at_most
        inside = value is not None and (low is None or value >= low) and (high is None or value <= high)
        passed = None if value is None else inside
        gates.append(
            {"name": name, "value": value, "bound": low if low is not None else high, "passed": passed}
        )
    margins = [(f"retention_{item['task']}", item) for item in retention]
    margins += [(f"style_{item['condition']}", item) for item in (style or {}).get("conditions", [])]
    gates += [
        {"name": name, "value": item["high"], "bound": item["margin"], "passed": item["passed"]}
        for name, item in margins
        if item["margin"] is not None
    ]
    return gates


def compare(run: Run) -> str:
    """Write metrics.json of `run` and return the verdict sentence."""
    settings, choice = read_json(run / "settings.json"), read_json(run / "eval" / "choice.json")
    manifest, history = read_json(run / "manifest.json"), read_json(run / "train" / "history.json")
    suite = Suite.model_validate(settings["suite"])
    names, baseline, split = choice["contenders"], choice["baseline"], choice["split"]
    folder = run / "eval" / "answers"
    task, labels = settings["dataset"]["task"], settings["dataset"]["labels"]
    answers = read_answers(run, names, split, labels)
    contenders = {name: measure(records, task, labels) for name, records in answers.items()}
    metrics = [suite.primary, *(name for name in contenders["tuned"] if name != suite.primary)]
    comparisons = [
        found
        for other in names
        if other != "tuned"
        for metric in metrics
        if metric not in NOT_COMPARED
        if (found := difference(metric, "tuned", other, answers, labels))
    ]
    train = read_jsonl(run / "data" / "train.jsonl")
    retention = retained(folder, suite.retention)
    style = styled(folder, suite.style, answers["tuned"], train) if suite.style else None
    gates = apply_gates(suite, contenders, retention, style)
    main = next(c for c in comparisons if c["metric"] == suite.primary and c["b"] == baseline)
    correct(comparisons, main)
    verdict = word(main)
    matrix = confusion(answers["tuned"], labels) if labels else None
    stages = run.state()["stages"]
    peaks = read_json(run / "eval" / "usage.json", {})
    measured = {
        "schema": 1,
        "recipe": settings["recipe"],
        "tier": settings["tier"],
        "seed": settings["seed"],
        "split": split,
        "rows": len(answers["tuned"]),
        "groups": contenders["tuned"][suite.primary]["groups"],
        "rows_sha256": hashlib.sha256((run / "data" / f"{split}.jsonl").read_bytes()).hexdigest(),
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
        "train_rows": len(train),
        "latency": choice.get("latency"),
        "token_agreement_unmerged_merged": choice["token_agreement_unmerged_merged"],
        "gates": gates,
        "verdict": verdict,
        "sentence": sentence(main, comparisons, settings, gates),
        "seconds": {name: entry["seconds"] for name, entry in stages.items() if name != "compare"},
        "peak_memory_gib": max(peaks.values()) if peaks else None,
        "peak_memory_by_stage_gib": peaks,
        "interruptions": interruptions(run),
    }
    write_json(run / "metrics.json", measured)
    return f"{len(comparisons)} comparisons, {len(gates)} gates"


def _amount(metric: str, value: float) -> str:
    """Return a difference as people say it."""
    if metric in UNITS:
        return f"{abs(value):.2f} {UNITS[metric]}"
    return f"{abs(value) * 100:.1f} points of {metric}"


def _result(comparison: dict[str, Any], rows: str) -> str:
    """Return what a comparison showed, on which `rows`, and how sure it is; with no difference shown also
    what so many rows could have shown."""
    metric, outcome = comparison["metric"], word(comparison)
    seen = _amount(metric, comparison["difference"])
    if comparison["p"] is None:
        sure = "too few groups"
    elif comparison["p_holm"] is None:
        sure = f"p = {comparison['p']:.4f}"
    else:
        sure = f"corrected p = {comparison['p_holm']:.4f}"
    enough = comparison["detectable"]
    if outcome == "no difference shown" and enough is not None and enough > abs(comparison["difference"]):
        sure += f"; {comparison['n']} rows can show {_amount(metric, comparison['detectable'])}, seen: {seen}"
    by = "" if outcome == "no difference shown" else f" by {seen}"
    return f"{by} ({rows}{sure})"


def sentence(main: dict, comparisons: list[dict], settings: dict, gates: list[dict]) -> str:
    """Return the verdict in one sentence that names the tier and every contender, each by the first
    metric measured of both: an endpoint's answers have no loss."""
    where = f"{settings['tier']} tier, {main['n']} rows"
    shown = {main["b"]: main}
    for comparison in comparisons:
        shown.setdefault(comparison["b"], comparison)
    parts = []
    for comparison in shown.values():
        other = comparison["b"] + (", the best prompt of its base" if comparison is main else "")
        rows = f"{comparison['n']} rows, " if comparison["n"] != main["n"] else ""
        parts.append(f"{VERBS[word(comparison)]} {other}{_result(comparison, rows)}")
    failed = [gate["name"] for gate in gates if gate["passed"] is False]
    tail = f" Failed gates: {', '.join(failed)}." if failed else ""
    return f"{settings['recipe']} ({where}): the tuned model " + "; ".join(parts) + "." + tail
