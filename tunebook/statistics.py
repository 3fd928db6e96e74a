"""Intervals and tests by group: rows that share a customer or conversation are not independent.

tests/test_statistics.py simulates how much too short an interval over rows is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000
FEW_GROUPS = 40
Statistic = Callable[[np.ndarray], float]


def _members(groups: Sequence[str]) -> list[np.ndarray]:
    names = np.asarray(groups)
    return [np.flatnonzero(names == name) for name in sorted(set(groups))]


def interval(statistic: Statistic, groups: Sequence[str]) -> tuple[float, float] | None:
    """Return the 95 % interval of `statistic`, which takes row numbers, over resampled groups.

    BCa bootstrap (scipy.stats.bootstrap) with 40 groups or more; with fewer, or where BCa has no answer,
    Student's t on the jackknife over groups (Tukey 1958). None below 3 groups.
    """
    members = _members(groups)
    count = len(members)
    if count < 3:
        return None
    full = statistic(np.arange(len(groups)))
    without = np.array([statistic(np.concatenate(members[:i] + members[i + 1 :])) for i in range(count)])
    error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    if count >= FEW_GROUPS and error > 0:
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            result = stats.bootstrap(
                (np.arange(count),),
                lambda index: statistic(np.concatenate([members[i] for i in index])),
                vectorized=False,
                n_resamples=RESAMPLES,
                method="BCa",
                rng=np.random.default_rng(0),
            )
        low, high = map(float, result.confidence_interval)
        # BCa has no answer where no resample reaches the whole.
        if np.isfinite([low, high]).all():
            return low, high
    return full - reach, full + reach


def mean_interval(values: np.ndarray, groups: Sequence[str]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `values` (one a row)."""
    return interval(lambda rows: float(values[rows].mean()), groups)


def permutation_p(differences: np.ndarray, groups: Sequence[str]) -> float | None:
    """Return the two-sided p of a mean difference of zero, flipping the sign of whole groups
    (scipy.stats.permutation_test, paired). None below 3 groups."""
    sums = np.array([differences[rows].sum() for rows in _members(groups)])
    if len(sums) < 3:
        return None
    if not sums.any():
        return 1.0
    result = stats.permutation_test(
        (sums,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)
