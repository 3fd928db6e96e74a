"""Intervals and tests by group: rows that share a customer or conversation are not independent.

A metric is a function of sums: every row contributes a few numbers (for a hit rate: hit and 1), and the
metric is computed from their totals. Whole groups can therefore be resampled, left out or swapped with matrix
operations. benchmarks/interval_coverage.py measures the coverage of the intervals and the false alarms of the
tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import scipy

RESAMPLES, PERMUTATIONS = 2000, 9999
FEW_GROUPS = 40
FEWEST = 6  # groups; with n of them, a sign permutation test has no p below 2/2^n
LEVEL, POWER = 0.05, 0.8
ALIKE = 0.3  # intraclass correlation within a group, assumed before there are answers
CELLS = 4_000_000  # numbers in memory at once while resampling: 32 MB
Bounds = tuple[float, float]
SHARE, GAP = (0.0, 1.0), (-1.0, 1.0)  # bounds of a share, and of the difference of two shares
Statistic = Callable[[np.ndarray], float]
# From sums (..., columns) to values (...).
Score = Callable[[np.ndarray], np.ndarray]


def mean(sums: np.ndarray) -> np.ndarray:
    """Return a mean: the sum of the values over the number of rows."""
    return sums[..., 0] / sums[..., 1]


def group_sums(parts: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return the sums (groups, columns) of `parts` (rows, columns), the groups sorted by name."""
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((int(number.max()) + 1 if len(number) else 0, parts.shape[1]))
    np.add.at(sums, number, parts)
    return sums


def _drawn(index: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the total of the groups that each row of `index` (..., drawn) draws, with repeats."""
    flat = index.reshape(-1, index.shape[-1])
    shifted = flat + np.arange(len(flat))[:, None] * len(sums)
    times = np.bincount(shifted.ravel(), minlength=len(flat) * len(sums)).reshape(len(flat), len(sums))
    return (times @ sums).reshape(*index.shape[:-1], sums.shape[1])


def _left_out(score: Score, sums: np.ndarray) -> np.ndarray:
    """Return the score with each group left out in turn (jackknife)."""
    return score(sums.sum(axis=0) - sums)


def _error(without: np.ndarray) -> float:
    """Return the standard error by the jackknife over groups (Tukey 1958)."""
    return float(np.sqrt((len(without) - 1) / len(without) * ((without - without.mean()) ** 2).sum()))


def _within(full: float, reach: float, groups: int, limits: Bounds) -> Bounds:
    """Return the interval of a score that cannot leave `limits`, where Student's t would give `full` +-
    `reach`.

    The t interval is computed on the logit; its standard error follows from that of the score by the delta
    method, as in SUDAAN and R's survey::svyciprop(method="xlogit"). At a limit, the logit is infinite and
    there is no spread. There, the interval is Clopper and Pearson's exact one, as in Korn and Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", Survey Methodology 24, with the number of groups as the effective sample size, which cannot be
    smaller.
    """
    least, width = limits[0], limits[1] - limits[0]
    share = min(1.0, max(0.0, (full - least) / width))
    if 0 < share < 1:
        half = reach / width / (share * (1 - share))
        low, high = (
            scipy.special.expit(scipy.special.logit(share) - half),
            scipy.special.expit(scipy.special.logit(share) + half),
        )
    else:
        low, high = scipy.stats.binomtest(round(share) * groups, groups).proportion_ci(1 - LEVEL)
    return least + width * float(low), least + width * float(high)


def _bounds(
    full: float, without: np.ndarray, drawn: Callable[..., np.ndarray], limits: Bounds | None
) -> Bounds:
    """Return the 95 % interval; `drawn(index, axis)` returns the value of each resample of group indices."""
    count, error = len(without), _error(without)
    reach = float(scipy.stats.t.ppf(1 - LEVEL / 2, count - 1)) * error
    if count >= FEW_GROUPS and error > 0:
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
            result = scipy.stats.bootstrap(
                (np.arange(count),),
                drawn,
                vectorized=True,
                n_resamples=RESAMPLES,
                batch=max(1, CELLS // count),
                method="BCa",
                rng=np.random.default_rng(0),
            )
        low, high = map(float, result.confidence_interval)
        # BCa is undefined if no resample reaches the value of the full sample.
        if np.isfinite([low, high]).all():
            return low, high
    return _within(full, reach, count, limits) if limits else (full - reach, full + reach)


def sums_interval(score: Score, sums: np.ndarray, limits: Bounds | None = None) -> Bounds | None:
    """Return the 95 % interval of `score` over resampled groups, from the sums of each group.

    BCa bootstrap (Efron 1987; scipy.stats.bootstrap) with 40 groups or more; with fewer, or if BCa is
    undefined, Student's t on the jackknife over groups. None below 3 groups.

    Args:
        limits: minimum and maximum of the score, SHARE or GAP; the t interval then stays within them.
    """
    if len(sums) < 3:
        return None
    full = float(score(sums.sum(axis=0)))
    return _bounds(full, _left_out(score, sums), lambda index, axis=-1: score(_drawn(index, sums)), limits)


def interval(statistic: Statistic, groups: Sequence[str], limits: Bounds | None = None) -> Bounds | None:
    """Return the same interval for a statistic that takes row indices and is no function of sums; slower."""
    names = np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    count = len(members)
    if count < 3:
        return None

    def drawn(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.apply_along_axis(
            lambda line: statistic(np.concatenate([members[i] for i in line])), -1, index
        )

    without = np.array([statistic(np.concatenate(members[:i] + members[i + 1 :])) for i in range(count)])
    return _bounds(statistic(np.arange(len(groups))), without, drawn, limits)


def mean_interval(values: np.ndarray, groups: Sequence[str], limits: Bounds | None = None) -> Bounds | None:
    """Return the 95 % interval of the mean of `values` (one per row)."""
    return sums_interval(mean, group_sums(np.stack([values, np.ones(len(values))], axis=1), groups), limits)


def permutation_p(score: Score, a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the two-sided p-value for no difference between two contenders, swapping them in whole groups:
    every swap up to 13 groups, 9,999 random swaps above (with the added 1 of Phipson and Smyth 2010). None
    below 3 groups.

    Equal to scipy.stats.permutation_test, which takes twenty times as long (tests/metrics/test_intervals.py).

    Args:
        a, b: sums (groups, columns) of the same rows.
    """
    count = len(a)
    if count < 3:
        return None
    if np.array_equal(a, b):
        return 1.0
    start, whole = a.sum(axis=0), (a + b).sum(axis=0)

    def gaps(swapped: np.ndarray) -> np.ndarray:
        sums = start + swapped @ (b - a)
        # Rounded, so that swaps that differ only in the order of summation count as ties.
        return np.abs(np.round(score(sums) - score(whole - sums), 12))

    seen = gaps(np.zeros(count))
    if 2**count <= PERMUTATIONS:
        every = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((gaps(every) >= seen).mean())
    rng, extreme, left = np.random.default_rng(0), 0, PERMUTATIONS
    while left:
        batch = min(left, max(1, CELLS // count))
        extreme += int((gaps(rng.integers(0, 2, (batch, count)).astype(float)) >= seen).sum())
        left -= batch
    return (extreme + 1) / (PERMUTATIONS + 1)


def mcnemar_midp(a: np.ndarray, b: np.ndarray) -> float:
    """Return the two-sided mid-p of McNemar's test for paired 0/1 values of independent rows.

    Fagerland, Lydersen, Laake 2013, "The McNemar test for binary matched-pairs data: mid-p and asymptotic
    are better than exact conditional", BMC Medical Research Methodology 13:91.
    """
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    binomial = scipy.stats.binom(only_a + only_b, 0.5)
    point = float(binomial.pmf(only_a))
    if only_a == only_b:
        return 1 - point / 2 if only_a else 1.0
    return float(2 * binomial.cdf(min(only_a, only_b))) - point


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple comparisons by Holm's step-down method (Holm 1979)."""
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=float)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected.tolist()


def detectable(score: Score, sums: np.ndarray) -> float | None:
    """Return the smallest true difference that a test of this size detects at the 5 % level with 80 % power.

    (t of 97.5 % + t of 80 %) times the standard error observed over groups: Bloom 1995, "Minimum detectable
    effects", Evaluation Review 19(5). None below 6 groups, because their signs alone give no p below 2/2^5 =
    6 %, and None if no group differs from another, because the spread is then 0.
    """
    if len(sums) < FEWEST:
        return None
    error = _error(_left_out(score, sums))
    factor = scipy.stats.t.ppf([1 - LEVEL / 2, POWER], len(sums) - 1).sum()
    return float(factor * error) if error > 1e-12 else None


def expected_detectable(rows: int, groups: int, spread: float) -> float | None:
    """Return an estimate of `detectable` before there are answers; None below 6 groups.

    Args:
        spread: standard deviation of the difference between two models' scores of a row.

    Rows that share a group carry less information than independent rows. They count as rows / (1 + (rows /
    groups - 1) * ALIKE) independent ones, the design effect of Kish 1965, "Survey Sampling", section 5.4.
    """
    if groups < FEWEST:
        return None
    units = rows / (1 + (rows / groups - 1) * ALIKE)
    factor = scipy.stats.t.ppf([1 - LEVEL / 2, POWER], groups - 1).sum()
    return float(factor * spread / np.sqrt(units))
