"""Intervals and tests by group, against direct computations and a simulation with a known truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from tunebook.metrics.aggregate import label_parts, macro_f1
from tunebook.metrics.intervals import (
    GAP,
    SHARE,
    detectable,
    group_sums,
    holm,
    interval,
    mcnemar_midp,
    mean,
    mean_interval,
    permutation_p,
    sums_interval,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Degenerate data is no news; whoever runs a recipe sees no warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Objects that tests of other files left open are collected whenever Python likes, here as well.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", pytest.PytestUnraisableExceptionWarning)
        yield


def names(groups: int, each: int = 1) -> list[str]:
    return [f"g{i // each}" for i in range(groups * each)]


def parts(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def swap_p(gaps: np.ndarray, groups: list[str]) -> float | None:
    """Return p of two contenders whose rows differ by `gaps`."""
    return permutation_p(mean, group_sums(parts(gaps), groups), group_sums(parts(0 * gaps), groups))


def test_few_groups_are_students_t_over_groups() -> None:
    # For the mean over groups of one size, the jackknife is the textbook interval of the group means.
    values = np.random.default_rng(1).normal(size=(12, 5)) + np.arange(12)[:, None]
    expected = stats.t.interval(0.95, 11, values.mean(axis=1).mean(), stats.sem(values.mean(axis=1)))
    assert mean_interval(values.ravel(), names(12, 5)) == pytest.approx(expected)


def test_many_groups_are_scipys_bootstrap() -> None:
    values = np.random.default_rng(2).exponential(size=60)
    direct = stats.bootstrap((values,), np.mean, n_resamples=5000, rng=np.random.default_rng(9))
    low, high = direct.confidence_interval
    found = mean_interval(values, names(60))
    assert found == pytest.approx((low, high), abs=(high - low) / 10)
    assert found[1] - values.mean() > values.mean() - found[0], "skewed as the data"
    assert mean_interval(values, names(60)) == found, "seeded"


def test_row_order_and_names_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    values, groups = rng.normal(size=40), np.array(names(8, 5))
    order = rng.permutation(40)
    assert mean_interval(values[order], list(groups[order])) == pytest.approx(
        mean_interval(values, list(groups))
    )


def clustered(rng: np.random.Generator, groups: int, each: int) -> np.ndarray:
    """Return rows of mean 0 with an intraclass correlation of 0.3, one line a group."""
    return rng.normal(size=(groups, 1)) * math.sqrt(0.3) + rng.normal(size=(groups, each)) * math.sqrt(0.7)


def test_an_interval_from_sums_is_the_one_from_rows() -> None:
    values, groups = np.random.default_rng(7).exponential(size=90), [f"g{i * i % 47}" for i in range(90)]
    assert len(set(groups)) < 40
    by_rows = interval(lambda rows: float(values[rows].mean()), groups)
    assert mean_interval(values, groups) == pytest.approx(by_rows, abs=1e-12)
    groups = [f"g{i % 50}" for i in range(90)]
    by_rows = interval(lambda rows: float(values[rows].mean()), groups)
    assert mean_interval(values, groups) == pytest.approx(by_rows, abs=1e-12), "BCa, of one seed"


def test_large_sets_are_cut_into_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(8).exponential(size=60)
    whole, p = mean_interval(values, names(60)), swap_p(values - 1, names(60))
    monkeypatch.setattr("tunebook.metrics.intervals.CELLS", 600)
    assert mean_interval(values, names(60)) == pytest.approx(whole)
    assert swap_p(values - 1, names(60)) == pytest.approx(p, abs=0.01)


def test_none_under_three_groups() -> None:
    values = np.array([1.0, 2.0, 4.0, 3.0])
    assert mean_interval(values, ["a", "a", "b", "b"]) is None
    assert swap_p(values, ["a", "a", "b", "b"]) is None
    assert mean_interval(values, ["a", "a", "b", "c"]) is not None
    assert swap_p(values, ["a", "a", "b", "c"]) is not None


@pytest.mark.parametrize("groups", [3, 39, 40, 60])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_all_alike_has_no_width(groups: int, value: float) -> None:
    found = mean_interval(np.full(groups * 2, value), names(groups, 2))
    assert found == pytest.approx((value, value))


@pytest.mark.parametrize("groups", [3, 20, 40, 60])
def test_one_odd_row_gives_numbers(groups: int) -> None:
    values = np.zeros(groups)
    values[1] = 1
    low, high = mean_interval(values, names(groups)) or (math.nan, math.nan)
    assert low <= 1 / groups <= high
    assert high > low


def test_a_share_of_few_groups_has_the_t_interval_of_its_logit() -> None:
    hits = np.array([1.0] * 38 + [0, 0])  # 10 groups of 4, and one of them is half wrong
    low, high = mean_interval(hits, names(10, 4), SHARE) or (math.nan,) * 2
    error = stats.sem(hits.reshape(10, 4).mean(axis=1)) / (0.95 * 0.05)
    expected = stats.t.interval(0.95, 9, math.log(0.95 / 0.05), error)
    assert (low, high) == pytest.approx([1 / (1 + math.exp(-end)) for end in expected])
    beyond = mean_interval(hits, names(10, 4)) or (math.nan,) * 2
    assert high < 1 < beyond[1], "plain t leaves 100 %"
    assert 1 - 0.95 < 0.95 - low, "longer towards the middle"
    mirrored = mean_interval(1 - hits, names(10, 4), SHARE)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("groups", [3, 12, 39, 40, 60])
def test_all_right_is_not_certainty(groups: int) -> None:
    found = mean_interval(np.ones(groups * 5), names(groups, 5), SHARE)
    assert found == pytest.approx((0.025 ** (1 / groups), 1)), "Clopper and Pearson: that no group be wrong"
    none = mean_interval(np.zeros(groups * 5), names(groups, 5), SHARE)
    assert none == pytest.approx((0, 1 - 0.025 ** (1 / groups)))


def test_a_difference_of_shares_stays_within_100_points() -> None:
    gaps = np.array([1.0] * 38 + [0, 0])  # the base is always wrong
    low, high = mean_interval(gaps, names(10, 4), GAP) or (math.nan,) * 2
    assert 0.5 < low < 0.95 < high < 1 < (mean_interval(gaps, names(10, 4)) or (0, 0))[1]
    small = np.random.default_rng(11).choice([-1.0, 0, 0, 0, 1], size=100)
    near_zero = mean_interval(small, names(20, 5), GAP)
    assert near_zero == pytest.approx(mean_interval(small, names(20, 5)), abs=0.01), (
        "far from an end, plain t"
    )
    assert mean_interval(np.zeros(20), names(10, 2), GAP) == pytest.approx((0, 0))


def test_macro_f1_that_no_group_can_change() -> None:
    # One label is always found, the other never: every resample has the same macro F1, one group has not.
    gold = np.array([0, 1] * 10 + [0] * 20 + [1] * 20)
    said = np.where(gold == 0, 0, -1)
    found = sums_interval(macro_f1, group_sums(label_parts(gold, said, 2), names(60)))
    assert found == pytest.approx((0.5, 0.5))


def test_macro_f1_of_rare_labels() -> None:
    # 60 labels of one row each, all found, and 5 common ones, of which every group finds one and mistakes
    # one: a resample misses rare labels, so that none reaches the whole.
    gold = np.concatenate([np.arange(60), np.tile(np.repeat(np.arange(60, 65), 2), 10)])
    mistaken = (gold >= 60) & (np.arange(len(gold)) % 2 == 1)
    said = np.where(mistaken, 60 + (gold - 59) % 5, gold)
    groups = [f"g{i % 50}" for i in range(60)] + names(50, 2)
    sums = group_sums(label_parts(gold, said, 65), groups)
    low, high = sums_interval(macro_f1, sums) or (math.nan,) * 2
    assert low < high
    assert low <= macro_f1(sums.sum(axis=0)) <= high


@pytest.mark.parametrize("groups", [10, 30])
def test_a_clear_difference_has_a_small_p(groups: int) -> None:
    gaps = np.random.default_rng(5).normal(1, 0.3, size=groups * 3)
    for sign in (1, -1):
        p = swap_p(sign * gaps, names(groups, 3))
        assert p is not None
        assert 0 < p < 0.005


def test_p_is_exact_for_few_groups() -> None:
    # Of the 16 signings of four groups, two are as far from zero as all alike.
    assert swap_p(np.array([1.0, 2.0, 3.0, 4.0]), names(4)) == pytest.approx(2 / 16)
    # Rows of one group are flipped together: these are four groups, not twelve.
    assert swap_p(np.ones(12), names(4, 3)) == pytest.approx(2 / 16)


@pytest.mark.parametrize("groups", [5, 13, 14, 60])
def test_p_is_scipys(groups: int) -> None:
    rng = np.random.default_rng(groups)
    gaps, each = rng.normal(0.3, 1, groups * 2).round(1), names(groups, 2)
    sums = group_sums(parts(gaps), each)[:, 0]
    expected = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    assert swap_p(gaps, each) == pytest.approx(expected.pvalue, abs=1e-9 if groups < 14 else 0.02)


def test_p_is_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(6)
    found = [swap_p(clustered(rng, 15, 4).ravel(), names(15, 4)) for _ in range(120)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert sum(p < 0.05 for p in found) < 15


def test_p_is_one_without_any_difference() -> None:
    assert swap_p(np.zeros(20), names(10, 2)) == 1.0
    assert swap_p(np.array([1.0, -1.0] * 10), names(10, 2)) == 1.0, "sums of zero in every group"


def test_p_of_macro_f1_swaps_whole_groups() -> None:
    rng = np.random.default_rng(9)
    gold = rng.integers(0, 3, 120)
    good, bad = (np.where(rng.random(120) < share, gold, (gold + 1) % 3) for share in (0.9, 0.4))
    a, b = (group_sums(label_parts(gold, said, 3), names(40, 3)) for said in (good, bad))
    assert permutation_p(macro_f1, a, b) == pytest.approx(1 / 10_000), "the least that 9,999 draws can show"
    assert permutation_p(macro_f1, b, a) == permutation_p(macro_f1, a, b)
    assert permutation_p(macro_f1, a, a) == 1.0


@pytest.mark.parametrize(
    ("only_a", "only_b", "exact", "midp"),
    [
        (1, 7, 0.0703, 0.0391),  # Fagerland et al. 2013, table 1: airway hyper-responsiveness
        (7, 1, 0.0703, 0.0391),
        (0, 3, 0.25, 0.125),
        (2, 2, 1.0, 1 - 6 / 16 / 2),
        (0, 0, 1.0, 1.0),
    ],
)
def test_mcnemar_midp(only_a: int, only_b: int, exact: float, midp: float) -> None:
    rows = [(1, 0)] * only_a + [(0, 1)] * only_b + [(1, 1)] * 5 + [(0, 0)] * 4
    a, b = (np.array(column) for column in zip(*rows, strict=True))
    if only_a + only_b:
        assert stats.binomtest(only_a, only_a + only_b).pvalue == pytest.approx(exact, abs=5e-5)
    assert mcnemar_midp(a, b) == pytest.approx(midp, abs=5e-5)


def test_holm() -> None:
    # By hand: 0.01 x 4, 0.02 x 3, then 0.03 x 2 and 0.04 x 1, which may not fall below the 0.06 before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_the_detectable_difference_is_shown_in_four_of_five_tests() -> None:
    rng = np.random.default_rng(10)
    groups = names(20, 5)
    errors = [detectable(mean, group_sums(parts(clustered(rng, 20, 5).ravel()), groups)) for _ in range(200)]
    shift = float(np.mean([error for error in errors if error]))
    # The true standard error of the mean of 20 groups of 5 with an intraclass correlation of 0.3.
    assert shift == pytest.approx((2.093 + 0.861) * math.sqrt((0.3 + 0.7 / 5) / 20), rel=0.03)
    values = shift + clustered(rng, 20 * 400, 5).reshape(400, 20, 5).mean(axis=2)
    power = (stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05).mean()
    assert power == pytest.approx(0.8, abs=0.05)


def test_nothing_detectable_without_spread() -> None:
    assert detectable(mean, group_sums(parts(np.full(20, 0.1)), names(10, 2))) is None
    assert detectable(mean, group_sums(parts(np.arange(4.0)), names(2, 2))) is None
