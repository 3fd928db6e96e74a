"""From the contenders' answers to metrics with intervals and differences between two contenders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import scipy

from tunebook.metrics.answers import Answer
from tunebook.metrics.intervals import (
    GAP,
    SHARE,
    Bounds,
    Score,
    detectable,
    group_sums,
    mcnemar_midp,
    mean,
    permutation_p,
    sums_interval,
)
from tunebook.metrics.schema import Bin, Comparison, Confusion, Details, LabelLine, Measured, Rate
from tunebook.metrics.scoring import HIGHER_IS_BETTER, UNBOUNDED, per_row

MEASURED = {
    "classification": [
        *("accuracy", "balanced_accuracy", "macro_f1", "invalid_rate", "stop_rate", "ece_10", "ece_15")
    ],
    "qa": ["f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em", "stop_rate"],
    "chat": ["loss", "byte_perplexity", "chrf", "rouge_l", "rules", "calls", "stop_rate", "length_ratio"],
    "preference": [
        *("preference", "preference_per_byte", "reward_accuracy", "reward", "loss", "byte_perplexity"),
        *("chrf", "rouge_l", "rules", "stop_rate", "length_ratio"),
    ],
}
ZERO_ONE = {"accuracy", "calls", "invalid_rate", "stop_rate", "unfinished_rate", "em"}
ZERO_ONE |= {"has_answer_em", "no_answer_em"}


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Return macro F1 over the labels that occur as gold or answer, from the sums of `label_parts`."""
    hits, gold, answers = np.split(sums, 3, axis=-1)
    total = gold + answers
    return (2 * hits / np.maximum(total, 1)).sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1)


def balanced_accuracy(sums: np.ndarray) -> np.ndarray:
    """Return balanced accuracy, the mean recall over the labels that occur, from the sums of
    `label_parts`."""
    hits, gold, _ = np.split(sums, 3, axis=-1)
    return (hits / np.maximum(gold, 1)).sum(axis=-1) / np.maximum((gold > 0).sum(axis=-1), 1)


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Return the expected calibration error (Guo et al. 2017, arXiv 1706.04599) from the sums of
    `_bin_parts`."""
    return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]


def _numbers(records: Sequence[Answer], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each gold label and of each answer; -1 for an answer that names no label."""
    number = {label: index for index, label in enumerate(labels)}
    return (
        np.array([number[record["gold"]] for record in records], dtype=int),
        np.array([number.get(record["label"] or "", -1) for record in records], dtype=int),
    )


def label_parts(gold: np.ndarray, answers: np.ndarray, count: int) -> np.ndarray:
    """Return indicators of hit, gold label and answer for each row, `count` columns each; -1 means no
    label."""
    one = np.vstack([np.eye(count), np.zeros(count)])
    return np.hstack([one[gold] * one[answers], one[gold], one[answers]])


def _confidence(records: Sequence[Answer]) -> np.ndarray:
    """Return the confidence of each row: the softmax probability of the chosen label among all labels."""
    return scipy.special.softmax(np.array([record["scores"] for record in records]), axis=1).max(axis=1)


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the index of each row's bin, all of equal width; a value on an edge belongs to the lower bin."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)


def _bin_parts(records: Sequence[Answer], bins: int) -> np.ndarray:
    """Return hit - confidence in the column of each row's bin, and a column of ones; NaN unless labels were
    ranked."""
    if not records or not all("scores" in record for record in records):
        return np.full((len(records), bins + 1), np.nan)
    confidence = _confidence(records)
    hits = np.array([record["label"] == record["gold"] for record in records])
    parts = np.zeros((len(records), bins + 1))
    parts[np.arange(len(records)), _bins(confidence, bins)] = hits - confidence
    parts[:, -1] = 1
    return parts


def _parts(records: Sequence[Answer], name: str, labels: Sequence[str]) -> tuple[np.ndarray, Score]:
    """Return each row's terms in the sums of metric `name` (NaN: not measured) and the metric's score
    function. Rows that an endpoint failed to answer are not measured."""
    whole = np.array(["error" not in record for record in records], dtype=bool)
    measured, score = _measured_parts(
        [r for r, kept in zip(records, whole, strict=True) if kept], name, labels
    )
    parts = np.full((len(records), measured.shape[1]), np.nan)
    parts[whole] = measured
    return parts, score


def _measured_parts(records: Sequence[Answer], name: str, labels: Sequence[str]) -> tuple[np.ndarray, Score]:
    if name in ("macro_f1", "balanced_accuracy"):
        score = macro_f1 if name == "macro_f1" else balanced_accuracy
        return label_parts(*_numbers(records, labels), len(labels)), score
    if name.startswith("ece_"):
        return _bin_parts(records, int(name.removeprefix("ece_"))), calibration_error
    values = [np.nan if value is None else float(value) for value in per_row(records, name)]
    return np.stack([values, np.ones(len(values))], axis=1), mean


def _measure(parts: np.ndarray, score: Score, groups: list[str], limits: Bounds | None = SHARE) -> Rate:
    """Return the metric's value over the measured rows, with its interval by group."""
    there = ~np.isnan(parts[:, 0])
    names = [group for group, kept in zip(groups, there, strict=True) if kept]
    sums = group_sums(parts[there], names)
    bounds = sums_interval(score, sums, limits)
    return {
        "value": float(score(sums.sum(axis=0))) if names else None,
        "n": len(names),
        "groups": len(sums),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
    }


def measure(records: Sequence[Answer], task: str, labels: list[str]) -> dict[str, Measured]:
    """Return every metric of one contender. invalid_rate and stop_rate are measured only for generated
    answers, unfinished_rate only with `thinking`, the calibration error only for labels ranked by likelihood.
    Rows that an endpoint failed to
    answer are not measured."""
    groups = [record["group"] for record in records]
    measured: dict[str, Measured] = {}
    thinking = ["unfinished_rate"] if any("unfinished" in record for record in records) else []
    for name in [*MEASURED[task], *thinking]:
        if name == "byte_perplexity":
            # Computed on the loss in bits, so that the interval of 2 ** loss is that of the loss.
            bits = measured["loss"]
            rate: Rate = {
                "value": _power_of_two(bits["value"]),
                "n": bits["n"],
                "groups": bits["groups"],
                "low": _power_of_two(bits["low"]),
                "high": _power_of_two(bits["high"]),
            }
        else:
            limits = None if name in UNBOUNDED else SHARE
            rate = _measure(*_parts(records, name, labels), groups, limits)
        measured[name] = {**rate, "higher_is_better": HIGHER_IS_BETTER[name]}
    return measured


def _power_of_two(bits: float | None) -> float | None:
    return None if bits is None else 2.0**bits


def difference(
    metric: str, a: str, b: str, answers: Mapping[str, Sequence[Answer]], labels: Sequence[str] = ()
) -> Comparison | None:
    """Compare contender `a` with `b` on the rows measured for both; differences are a - b.

    p is McNemar's mid-p if the metric is 0 or 1 and every group is one row, otherwise by permutation;
    `detectable` is the smallest difference that this number of rows can show. The caller fills in `p_holm`.
    """
    (parts_a, score), (parts_b, _) = (_parts(answers[name], metric, labels) for name in (a, b))
    there = ~np.isnan(parts_a[:, 0]) & ~np.isnan(parts_b[:, 0])
    if not there.any():
        return None
    groups = [record["group"] for record, kept in zip(answers[a], there, strict=True) if kept]
    sums_a, sums_b = group_sums(parts_a[there], groups), group_sums(parts_b[there], groups)
    width = parts_a.shape[1]

    def gap(sums: np.ndarray) -> np.ndarray:
        return score(sums[..., :width]) - score(sums[..., width:])

    both = np.hstack([sums_a, sums_b])
    bounds = sums_interval(gap, both, None if metric in UNBOUNDED else GAP)
    test: Literal["mcnemar_midp", "permutation"] | None
    p: float | None
    if len(both) < 3:
        test, p = None, None
    elif metric in ZERO_ONE and len(both) == len(groups):
        test, p = "mcnemar_midp", mcnemar_midp(parts_a[there, 0], parts_b[there, 0])
    else:
        test, p = "permutation", permutation_p(score, sums_a, sums_b)
    return {
        "metric": metric,
        "a": a,
        "b": b,
        "difference": float(gap(both.sum(axis=0))),
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "p": p,
        "p_holm": None,
        "test": test,
        "detectable": detectable(gap, both),
        "n": len(groups),
        "groups": len(both),
    }


def confusion(records: Sequence[Answer], labels: list[str]) -> Confusion:
    """Return the confusion matrix: one row per gold label, one column per answer; the last column counts
    answers that name no label."""
    matrix = np.zeros((len(labels), len(labels) + 1), dtype=int)
    np.add.at(matrix, _numbers(records, labels), 1)
    return {"labels": labels, "answers": [*labels, "no label"], "matrix": matrix.tolist()}


def per_class(matrix: np.ndarray, labels: list[str]) -> list[LabelLine]:
    """Return precision, recall, F1 and row count of each label from a confusion matrix; 0 for a division by
    zero (scikit-learn's `zero_division=0`)."""
    hits, rows, answers = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)[: len(labels)]
    precision, recall = hits / np.maximum(answers, 1), hits / np.maximum(rows, 1)
    f1 = 2 * hits / np.maximum(answers + rows, 1)
    return [
        {
            "label": label,
            "n": int(rows[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
        }
        for i, label in enumerate(labels)
    ]


def _calibration(records: Sequence[Answer], bins: int = 10) -> list[Bin]:
    """Return confidence and accuracy of the rows in each bin of confidence."""
    confidence = _confidence(records)
    hits = np.array([record["label"] == record["gold"] for record in records], dtype=float)
    chosen = [_bins(confidence, bins) == number for number in range(bins)]
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "n": int(here.sum()),
            "confidence": float(confidence[here].mean()) if here.any() else None,
            "accuracy": float(hits[here].mean()) if here.any() else None,
        }
        for number, here in enumerate(chosen)
    ]


def details(records: Sequence[Answer]) -> Details:
    """Return the breakdown of a contender's metrics: how its answers were produced, calibration by bins of
    confidence if labels were ranked, each rule of the style guide. None for what does not apply."""
    records = [record for record in records if "error" not in record]
    ranked = bool(records) and all("scores" in record for record in records)
    generated = not records or any("stopped" in record for record in records)
    made: Literal["ranked", "generated", "classified"]
    made = "ranked" if ranked else "generated" if generated else "classified"
    groups = [record["group"] for record in records]
    met = [record.get("rules_met") or {} for record in records]
    rules = {}
    for rule in dict.fromkeys(name for record in met for name in record):
        values = [float(record[rule]) if rule in record else np.nan for record in met]
        rules[rule] = _measure(np.stack([values, np.ones(len(values))], axis=1), mean, groups)
    return {"made": made, "calibration": _calibration(records) if ranked else None, "rules": rules or None}
