"""Intervals and tests by group, against direct computations and a simulation with a known truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from tunebook.compare import macro_f1
from tunebook.statistics import interval, mean_interval, permutation_p


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Degenerate data is no news; whoever runs a recipe sees no warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def names(groups: int, each: int = 1) -> list[str]:
    return [f"g{i // each}" for i in range(groups * each)]


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


@pytest.mark.parametrize(("groups", "tries"), [(30, 200), (45, 60)])
def test_covers_by_group_as_it_says(groups: int, tries: int) -> None:
    rng = np.random.default_rng(4)
    by_group = by_row = 0
    for _ in range(tries):
        values = clustered(rng, groups, 10).ravel()
        low, high = mean_interval(values, names(groups, 10)) or (0, 0)
        by_group += low <= 0 <= high
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        by_row += low <= 0 <= high
    assert by_group / tries > 0.88
    assert by_row / tries < 0.8


def test_none_under_three_groups() -> None:
    values = np.array([1.0, 2.0, 4.0, 3.0])
    assert mean_interval(values, ["a", "a", "b", "b"]) is None
    assert permutation_p(values, ["a", "a", "b", "b"]) is None
    assert mean_interval(values, ["a", "a", "b", "c"]) is not None
    assert permutation_p(values, ["a", "a", "b", "c"]) is not None


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


def test_macro_f1_that_no_group_can_change() -> None:
    # One label is always found, the other never: every resample has the same macro F1, one group has not.
    gold = np.array([0, 1] * 10 + [0] * 20 + [1] * 20)
    predicted = np.where(gold == 0, 0, -1)
    found = interval(lambda rows: macro_f1(gold[rows], predicted[rows], 2), names(60))
    assert found == pytest.approx((0.5, 0.5))


def test_macro_f1_of_rare_labels() -> None:
    # 60 labels of one row each, all found, and 5 common ones, of which every group finds one and mistakes
    # one: a resample misses rare labels, so that none reaches the whole.
    gold = np.concatenate([np.arange(60), np.tile(np.repeat(np.arange(60, 65), 2), 10)])
    mistaken = (gold >= 60) & (np.arange(len(gold)) % 2 == 1)
    predicted = np.where(mistaken, 60 + (gold - 59) % 5, gold)
    groups = [f"g{i % 50}" for i in range(60)] + names(50, 2)
    whole = macro_f1(gold, predicted, 65)
    low, high = interval(lambda rows: macro_f1(gold[rows], predicted[rows], 65), groups) or (math.nan,) * 2
    assert low < high
    assert low <= whole <= high


@pytest.mark.parametrize("groups", [10, 30])
def test_a_clear_difference_has_a_small_p(groups: int) -> None:
    gaps = np.random.default_rng(5).normal(1, 0.3, size=groups * 3)
    for sign in (1, -1):
        p = permutation_p(sign * gaps, names(groups, 3))
        assert p is not None
        assert 0 < p < 0.005


def test_p_is_exact_for_few_groups() -> None:
    # Of the 16 signings of four groups, two are as far from zero as all alike.
    assert permutation_p(np.array([1.0, 2.0, 3.0, 4.0]), names(4)) == pytest.approx(2 / 16)
    # Rows of one group are flipped together: these are four groups, not twelve.
    assert permutation_p(np.ones(12), names(4, 3)) == pytest.approx(2 / 16)


def test_p_is_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(6)
    found = [permutation_p(clustered(rng, 15, 4).ravel(), names(15, 4)) for _ in range(120)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert sum(p < 0.05 for p in found) < 15


def test_p_is_one_without_any_difference() -> None:
    assert permutation_p(np.zeros(20), names(10, 2)) == 1.0
    assert permutation_p(np.array([1.0, -1.0] * 10), names(10, 2)) == 1.0, "sums of zero in every group"
