"""Simulate how often the 95 % intervals cover the true value, and how often the tests raise a false alarm.

    .venv/bin/python benchmarks/interval_coverage.py

Writes benchmarks/results/interval_coverage.json and the table of docs/metrics.md. Rows come in groups of 10,
in which the differences between two contenders have an intraclass correlation of 0.3. The functions of
tunebook/metrics/intervals.py run unchanged, and once more with every row as a separate group, which is a row
bootstrap. McNemar's mid-p is tested on independent 0/1 rows, for which it is used. Accuracies are drawn by
group from a beta distribution with the same correlation; their intervals are compared with plain t, which
ignores that a share has limits.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np

from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.metrics.intervals import (
    GAP,
    SHARE,
    group_sums,
    mcnemar_midp,
    mean,
    mean_interval,
    permutation_p,
)
from tunebook.report.markdown_blocks import fill

PAGE = ROOT / "docs" / "metrics.md"
RESULT = ROOT / "benchmarks" / "results" / "interval_coverage.json"
EACH, CORRELATION, SEED = 10, 0.3, 20260101
ROWS, RIGHT, AGREE = 300, 0.8, 0.5  # 0/1 rows: accuracy of both, share of rows where they always agree
# Accuracy of one contender, and of another to compare with.
SHARES = ((0.5, None), (0.8, None), (0.95, None), (0.8, 0.7), (0.9, 0.4), (0.95, 0.0))
FEW = (10, 30)


def differences(rng: np.random.Generator, groups: int) -> np.ndarray:
    """Return differences of mean 0 and variance 1, one line per group."""
    between = rng.normal(size=(groups, 1)) * math.sqrt(CORRELATION)
    return between + rng.normal(size=(groups, EACH)) * math.sqrt(1 - CORRELATION)


def coverage(groups: int, trials: int, by_row: bool = False, seed: int = SEED) -> float:
    """Return the share of trials in which the interval of the mean difference covers 0, the true value."""
    rng = np.random.default_rng(seed)
    names = [f"g{index if by_row else index // EACH}" for index in range(groups * EACH)]
    covered = 0
    for _ in range(trials):
        bounds = mean_interval(differences(rng, groups).ravel(), names)
        covered += bounds is not None and bounds[0] <= 0 <= bounds[1]
    return covered / trials


def answers(rng: np.random.Generator, groups: int, right: float) -> np.ndarray:
    """Return 0/1 answers, one line per group; the share `right` of them is 1."""
    if right in (0, 1):
        return np.full((groups, EACH), right)
    spread = 1 / CORRELATION - 1
    level = rng.beta(right * spread, (1 - right) * spread, size=(groups, 1))
    return (rng.random((groups, EACH)) < level).astype(float)


def coverage_of_shares(
    right: float, other: float | None, groups: int, trials: int, bounded: bool, seed: int = SEED
) -> tuple[float, float]:
    """Return the share of trials in which the interval of an accuracy, or of a difference of two, covers the
    true value, and the share in which it exceeds the limits."""
    rng = np.random.default_rng(seed)
    names = [f"g{index // EACH}" for index in range(groups * EACH)]
    truth, limits = right - (other or 0), SHARE if other is None else GAP
    covered = left = 0
    for _ in range(trials):
        values = answers(rng, groups, right) - (0 if other is None else answers(rng, groups, other))
        low, high = mean_interval(values.ravel(), names, limits if bounded else None) or (math.nan, math.nan)
        covered += low <= truth <= high
        left += low < limits[0] or high > limits[1]
    return covered / trials, left / trials


def shares(trials: int) -> list[dict[str, Any]]:
    """Return the coverage for every pair in SHARES and every number of groups in FEW, within limits and by
    plain t."""
    found = []
    for groups in FEW:
        for right, other in SHARES:
            line: dict[str, Any] = {"groups": groups, "right": right, "other": other, "trials": trials}
            for name, bounded in (("within", True), ("plain_t", False)):
                covered, left = coverage_of_shares(right, other, groups, trials, bounded)
                line[name] = {"covered": covered, "left_the_limits": left}
            found.append(line)
    return found


def alarms_of_permutation(groups: int, trials: int, seed: int = SEED) -> float:
    """Return the share of trials in which p is under 5 % although nothing differs."""
    rng = np.random.default_rng(seed)
    names = [f"g{index // EACH}" for index in range(groups * EACH)]
    ones, alarms = np.ones(groups * EACH), 0
    for _ in range(trials):
        parts = np.stack([differences(rng, groups).ravel(), ones], axis=1)
        sums = group_sums(parts, names)
        p = permutation_p(mean, sums, sums * [0, 1])
        alarms += p is not None and p < 0.05
    return alarms / trials


def alarms_of_mcnemar(trials: int, rows: int = ROWS, seed: int = SEED) -> float:
    """Return the same for 0/1 answers on independent rows, by the mid-p of McNemar's test."""
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(trials):
        a, other = rng.random((2, rows)) < RIGHT
        b = np.where(rng.random(rows) < AGREE, a, other)
        alarms += mcnemar_midp(a.astype(int), b.astype(int)) < 0.05
    return alarms / trials


def table(found: dict[str, Any]) -> str:
    """Return the result as Markdown, for docs/metrics.md."""
    lines = ["| what | groups | trials | share |", "|---|---|---|---|"]
    for line in found["coverage"]:
        what = f"95 % interval covers the truth: {line['method']}"
        lines.append(f"| {what} | {line['groups']} | {line['trials']} | {line['covered']:.1%} |")
    for line in found["false_alarms_at_5_percent"]:
        what = f"false alarm at the 5 % level: {line['test']}"
        lines.append(f"| {what} | {line['groups']} | {line['trials']} | {line['alarms']:.1%} |")
    lines += [
        "",
        "| share right | of the other | groups | covers the truth | plain t | plain t leaves the limits |",
        "|---|---|---|---|---|---|",
    ]
    for line in found["shares"]:
        other = "" if line["other"] is None else f"{line['other']:.0%}"
        cells = [line["within"]["covered"], line["plain_t"]["covered"], line["plain_t"]["left_the_limits"]]
        shown = " | ".join(f"{cell:.1%}" for cell in cells)
        lines.append(f"| {line['right']:.0%} | {other} | {line['groups']} | {shown} |")
    return "\n".join(lines)


def differences_and_tests(trials: int, row_trials: int) -> dict[str, Any]:
    """Return the coverage of intervals of a difference, and the false alarms of the tests."""
    return {
        "rows_a_group": EACH,
        "intraclass_correlation": CORRELATION,
        "seed": SEED,
        "level": 0.95,
        "coverage": [
            {"groups": groups, "method": method, "trials": count, "covered": coverage(groups, count, by_row)}
            for groups in (30, 60)
            for method, count, by_row in (
                ("jackknife t by group" if groups == 30 else "BCa bootstrap by group", trials, False),
                ("BCa bootstrap by row", row_trials, True),
            )
        ],
        "false_alarms_at_5_percent": [
            *(
                {"test": "permutation", "groups": groups, "rows": groups * EACH, "trials": trials}
                | {"alarms": alarms_of_permutation(groups, trials)}
                for groups in (30, 60)
            ),
            {"test": "mcnemar_midp", "groups": ROWS, "rows": ROWS, "trials": trials}
            | {"alarms": alarms_of_mcnemar(trials)},
        ],
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--row-trials", type=int, default=1_000, help="for the row bootstrap, which is slow")
    parser.add_argument("--shares", action="store_true", help="only these; keep the other results")
    options = parser.parse_args(argv)
    start = time.monotonic()
    found = read_json(RESULT) if options.shares else differences_and_tests(options.trials, options.row_trials)
    found["shares"] = shares(options.trials)
    found["shares_seconds" if options.shares else "seconds"] = round(time.monotonic() - start)
    write_json(RESULT, found)
    fill(PAGE, "coverage", table(read_json(RESULT)))
    print(table(read_json(RESULT)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
