"""How often the 95 % intervals cover the truth, and how often the tests see what is not there.

    .venv/bin/python benchmarks/interval_coverage.py

Writes benchmarks/results/interval_coverage.json and the table of docs/metrics.md. Rows come in groups of 10
whose differences between two contenders have an intraclass correlation of 0.3. The functions of
tunebook/statistics.py are called as they ship. Beside them stands the same interval with every row as a group
of its own, which is a row bootstrap. McNemar's mid-p is tried on independent 0/1 rows, where it is used.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np

from tunebook.cards import fill
from tunebook.paths import ROOT
from tunebook.run import read_json, write_json
from tunebook.statistics import group_sums, mcnemar_midp, mean, mean_interval, permutation_p

PAGE = ROOT / "docs" / "metrics.md"
RESULT = ROOT / "benchmarks" / "results" / "interval_coverage.json"
EACH, CORRELATION, SEED = 10, 0.3, 20260101
ROWS, RIGHT, AGREE = 300, 0.8, 0.5  # 0/1 rows: share right of both contenders, share they surely agree on


def differences(rng: np.random.Generator, groups: int) -> np.ndarray:
    """Return differences of mean 0 and variance 1, one line a group."""
    between = rng.normal(size=(groups, 1)) * math.sqrt(CORRELATION)
    return between + rng.normal(size=(groups, EACH)) * math.sqrt(1 - CORRELATION)


def coverage(groups: int, trials: int, by_row: bool = False, seed: int = SEED) -> float:
    """Return the share of trials in which the interval of the mean difference covers 0, the truth."""
    rng = np.random.default_rng(seed)
    names = [f"g{index if by_row else index // EACH}" for index in range(groups * EACH)]
    covered = 0
    for _ in range(trials):
        bounds = mean_interval(differences(rng, groups).ravel(), names)
        covered += bounds is not None and bounds[0] <= 0 <= bounds[1]
    return covered / trials


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
    """Return the same for 0/1 answers to independent rows, by the mid-p of McNemar's test."""
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
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--row-trials", type=int, default=1_000, help="for the row bootstrap, which is slow")
    options = parser.parse_args(argv)
    trials, row_trials = options.trials, options.row_trials
    start = time.monotonic()
    found: dict[str, Any] = {
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
    write_json(RESULT, found | {"seconds": round(time.monotonic() - start)})
    fill(PAGE, "coverage", table(read_json(RESULT)))
    print(table(read_json(RESULT)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
