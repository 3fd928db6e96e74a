"""The simulation of benchmarks/interval_coverage.py, shortened, and its committed result."""

from __future__ import annotations

import pytest

from benchmarks import interval_coverage as simulation
from tunebook.core.files import read_json
from tunebook.report.markdown_blocks import block


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "trials"), [(30, 600), (60, 200)])
def test_intervals_by_group_cover_and_by_row_do_not(groups: int, trials: int) -> None:
    # Bounds 4 standard errors of so many trials around 92 and 97 %.
    slack = 4 * (0.95 * 0.05 / trials) ** 0.5
    assert 0.92 - slack < simulation.coverage(groups, trials, seed=1) < min(1.0, 0.97 + slack)
    assert simulation.coverage(groups, 60, by_row=True, seed=1) < 0.88


def test_the_tests_seldom_cry_wolf() -> None:
    slack = 4 * (0.05 * 0.95 / 200) ** 0.5
    assert simulation.alarms_of_permutation(30, 200, seed=1) < 0.06 + slack
    assert simulation.alarms_of_mcnemar(200, seed=1) < 0.06 + slack


@pytest.mark.parametrize(("right", "other", "groups"), [(0.8, 0.7, 10), (0.8, None, 30)])
def test_intervals_of_shares_cover_and_stay_within_their_limits(
    right: float, other: float | None, groups: int
) -> None:
    slack = 4 * (0.95 * 0.05 / 400) ** 0.5
    covered, left = simulation.coverage_of_shares(right, other, groups, 400, bounded=True, seed=1)
    assert 0.92 - slack < covered
    assert left == 0


def test_the_committed_result() -> None:
    found = read_json(simulation.RESULT)
    assert (found["rows_a_group"], found["intraclass_correlation"]) == (10, 0.3)
    for line in found["coverage"]:
        if line["method"].endswith("by group"):
            assert line["trials"] >= 10_000
            assert 0.92 <= line["covered"] <= 0.97
        else:
            assert line["covered"] < 0.8
    assert {line["groups"] for line in found["coverage"]} == {30, 60}
    for line in found["false_alarms_at_5_percent"]:
        assert line["trials"] >= 10_000
        assert line["alarms"] <= 0.06
    tests = {(line["test"], line["groups"]) for line in found["false_alarms_at_5_percent"]}
    for line in found["shares"]:
        assert line["trials"] >= 10_000 and line["within"]["left_the_limits"] == 0
        assert line["within"]["covered"] >= line["plain_t"]["covered"] - 0.01
    assert tests == {("permutation", 30), ("permutation", 60), ("mcnemar_midp", 300)}


def test_the_page_shows_the_committed_result() -> None:
    shown = block(simulation.PAGE.read_text(encoding="utf-8"), "coverage").strip()
    assert shown == simulation.table(read_json(simulation.RESULT))
