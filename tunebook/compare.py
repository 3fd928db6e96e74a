"""The comparison: from the answers of every contender to metrics.json, with intervals and gates."""

from __future__ import annotations

from typing import Any

import numpy as np

from tunebook.dataset import Row, read_rows
from tunebook.metrics import HIGHER_IS_BETTER, per_row
from tunebook.run import Run, read_json, write_json
from tunebook.statistics import interval, mean_interval, permutation_p
from tunebook.suite import Suite

ALPHA = 0.05
MEASURED = {
    "classification": ["accuracy", "invalid_rate", "stop_rate"],
    "qa": ["f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em", "stop_rate"],
    "chat": ["loss", "chrf", "rules", "stop_rate", "length_ratio"],
}
Measure = dict[str, Any]


def macro_f1(gold: np.ndarray, predicted: np.ndarray, labels: int) -> float:
    """Return the mean F1 over the labels that occur in `gold` or `predicted` (scikit-learn's
    `f1_score(average="macro", zero_division=0)`); an invalid answer is -1 and is nobody's prediction.
    """
    valid = predicted >= 0
    hits = np.bincount(gold[valid & (gold == predicted)], minlength=labels)
    total = np.bincount(gold, minlength=labels) + np.bincount(predicted[valid], minlength=labels)
    seen = total > 0
    return float((2 * hits[seen] / total[seen]).mean()) if seen.any() else 0.0


def _measure(values: list[float | None], groups: list[str], name: str) -> Measure:
    """Return the mean of the values that are there, with its interval by group."""
    kept = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    array = np.array([value for value, _ in kept], dtype=float)
    names = [group for _, group in kept]
    bounds = mean_interval(array, names) if kept else None
    return {
        "value": float(array.mean()) if kept else None,
        "n": len(kept),
        "groups": len(set(names)),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "higher_is_better": HIGHER_IS_BETTER[name],
    }


def measure(records: list[Row], task: str, labels: list[str]) -> dict[str, Measure]:
    """Return every metric of one contender; labels ranked by likelihood have no invalid answers, so
    invalid_rate and stop_rate are not measured for them."""
    groups = [record["group"] for record in records]
    result = {name: _measure(per_row(records, name), groups, name) for name in MEASURED[task]}
    if not labels:
        return result
    number = {label: index for index, label in enumerate(labels)}
    gold = np.array([number[record["gold"]] for record in records])
    predicted = np.array([number.get(record["label"], -1) for record in records])
    bounds = interval(lambda rows: macro_f1(gold[rows], predicted[rows], len(labels)), groups)
    result["macro_f1"] = {
        "value": macro_f1(gold, predicted, len(labels)),
        "n": len(records),
        "groups": len(set(groups)),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "higher_is_better": True,
    }
    return result


def difference(metric: str, a: str, b: str, answers: dict[str, list[Row]]) -> dict[str, Any] | None:
    """Compare contender `a` with `b` on the rows where both were measured; differences are a - b."""
    pairs = [
        (x, y, record["group"])
        for x, y, record in zip(
            per_row(answers[a], metric), per_row(answers[b], metric), answers[a], strict=True
        )
        if x is not None and y is not None
    ]
    if not pairs:
        return None
    gaps, groups = np.array([x - y for x, y, _ in pairs]), [group for _, _, group in pairs]
    bounds = mean_interval(gaps, groups)
    return {
        "metric": metric,
        "a": a,
        "b": b,
        "difference": float(gaps.mean()),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "p": permutation_p(gaps, groups),
        "n": len(pairs),
        "groups": len(set(groups)),
    }


def word(comparison: dict[str, Any]) -> str:
    """Return better, worse or no difference shown, for `a` against `b`."""
    if comparison["p"] is None or comparison["p"] >= ALPHA or not comparison["difference"]:
        return "no difference shown"
    up = HIGHER_IS_BETTER[comparison["metric"]]
    return "better" if (comparison["difference"] > 0) == up else "worse"


def retention_rise(run: Run) -> dict[str, Any] | None:
    """Return the relative rise of bits per byte on the general text, with its 95 % interval."""
    paths = [run / "eval" / "answers" / f"{name}.retention.jsonl" for name in ("base", "tuned")]
    if not all(path.is_file() for path in paths):
        return None
    base, tuned = (np.array([record["loss"] for record in read_rows(path)]) for path in paths)
    groups = [str(index) for index in range(len(base))]

    def rise(rows: np.ndarray) -> float:
        return float(tuned[rows].mean() / base[rows].mean() - 1)

    bounds = interval(rise, groups)
    return {
        "base": float(base.mean()),
        "tuned": float(tuned.mean()),
        "rise": rise(np.arange(len(base))),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "passages": len(base),
    }


def apply_gates(
    suite: Suite, contenders: dict[str, dict[str, Measure]], retention: dict | None
) -> list[dict]:
    """Return each gate with its value and bound; `passed` is null where nothing was measured."""
    gates = []
    for name, gate in suite.gates.items():
        value: float | None
        bound: float | None
        if gate.increase_at_most is not None:
            # Non-inferiority: the upper end of the interval has to stay under the bound.
            value, bound = (retention["high"] if retention else None), gate.increase_at_most
            passed = None if value is None else value <= gate.increase_at_most
        else:
            value = contenders[gate.contender].get(name, {}).get("value")
            low, high = gate.at_least, gate.at_most
            bound = low if low is not None else high
            inside = value is not None and (low is None or value >= low) and (high is None or value <= high)
            passed = None if value is None else inside
        gates.append({"name": name, "value": value, "bound": bound, "passed": passed})
    return gates


def compare(run: Run) -> str:
    """Write metrics.json of `run` and return the verdict sentence."""
    settings, choice = read_json(run / "settings.json"), read_json(run / "eval" / "choice.json")
    manifest, history = read_json(run / "manifest.json"), read_json(run / "train" / "history.json")
    suite = Suite.model_validate(settings["suite"])
    names, baseline, split = choice["contenders"], choice["baseline"], choice["split"]
    folder = run / "eval" / "answers"
    answers = {name: read_rows(folder / f"{name}.{split}.jsonl") for name in names}
    task, labels = settings["dataset"]["task"], settings["dataset"]["labels"]
    contenders = {name: measure(records, task, labels) for name, records in answers.items()}
    metrics = [suite.primary, *(name for name in contenders["tuned"] if name != suite.primary)]
    comparisons = [
        found
        for other in names
        if other != "tuned"
        for metric in metrics
        if metric not in ("macro_f1", "length_ratio")
        if (found := difference(metric, "tuned", other, answers))
    ]
    retention = retention_rise(run)
    gates = apply_gates(suite, contenders, retention)
    main = next(c for c in comparisons if c["metric"] == suite.primary and c["b"] == baseline)
    verdict = word(main)
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
        "retention": retention,
        "token_agreement_unmerged_merged": choice["token_agreement_unmerged_merged"],
        "gates": gates,
        "verdict": verdict,
        "sentence": sentence(main, comparisons, settings, gates),
        "seconds": {name: entry["seconds"] for name, entry in stages.items() if name != "compare"},
        "peak_memory_gib": max(peaks.values()) if peaks else None,
        "peak_memory_by_stage_gib": peaks,
    }
    write_json(run / "metrics.json", measured)
    return f"{len(comparisons)} comparisons, {len(gates)} gates"


def _amount(comparison: dict[str, Any]) -> str:
    if comparison["metric"] == "loss":
        return f"{abs(comparison['difference']):.2f} bits per byte"
    return f"{abs(comparison['difference']) * 100:.1f} points of {comparison['metric']}"


def sentence(main: dict, comparisons: list[dict], settings: dict, gates: list[dict]) -> str:
    """Return the verdict in one sentence that names the tier and every contender."""
    where = f"{settings['tier']} tier, {main['n']} rows"
    parts = []
    for comparison in [main, *(c for c in comparisons if c["metric"] == main["metric"] and c is not main)]:
        outcome = word(comparison)
        verb = {"better": "beats", "worse": "loses to", "no difference shown": "shows no difference from"}
        other = comparison["b"] + (", the best prompt of its base" if comparison is main else "")
        by = "" if outcome == "no difference shown" else f" by {_amount(comparison)}"
        p = "too few groups" if comparison["p"] is None else f"p = {comparison['p']:.4f}"
        parts.append(f"{verb[outcome]} {other}{by} ({p})")
    failed = [gate["name"] for gate in gates if gate["passed"] is False]
    tail = f" Failed gates: {', '.join(failed)}." if failed else ""
    return f"{settings['recipe']} ({where}): the tuned model " + "; ".join(parts) + "." + tail
