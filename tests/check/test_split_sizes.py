"""What check says of a test split's size, and whether that is what an evaluation then finds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.small_data import seen
from tunebook.check.findings import Finding, Findings
from tunebook.check.sizes.splits import SplitSizes, Windows
from tunebook.metrics.intervals import detectable, expected_detectable, group_sums, mean


def judged(test: int, groups: int, task: str = "classification", dev: int = 40) -> list[Finding]:
    found = Findings()
    watcher = SplitSizes(found, task, "dataset.yaml")
    for line in range(dev):
        watcher.see(seen("dev", line, "x"))
    for line in range(test):
        watcher.see(seen("test", line, "x", group=f"g{line % groups}"))
    watcher.see(seen("train", 1, "x"))
    watcher.finish()
    return [one for kind in found.kinds.values() for one in kind.shown]


@pytest.mark.parametrize(
    ("test", "groups", "task", "grade", "said"),
    [
        (1, 1, "chat", "error", "1 row in 1 group."),
        (5, 5, "chat", "error", "5 rows in 5 groups"),
        (200, 1, "qa", "error", "200 rows in 1 group."),
        (20, 20, "classification", "warning", "26 points of accuracy"),
        (300, 52, "classification", "note", "points of accuracy"),
        (10, 10, "chat", "warning", "bits per byte of loss"),
        (150, 150, "chat", "note", "0.03 bits per byte of loss"),
    ],
)
def test_what_so_many_rows_can_show(test: int, groups: int, task: str, grade: str, said: str) -> None:
    (found,) = judged(test, groups, task)
    assert (found.grade, said in found.text) == (grade, True), found.text
    codes = {"error": "split.shows_nothing", "warning": "split.shows_little", "note": "split.shows"}
    assert found.code == codes[grade]


def test_few_dev_rows_are_a_warning() -> None:
    assert [one.code for one in judged(300, 300, dev=5)] == ["split.shows", "split.few_dev_rows"]


@pytest.mark.parametrize(("rows", "groups"), [(300, 300), (300, 60), (60, 60)])
def test_it_is_about_what_an_evaluation_finds(rows: int, groups: int) -> None:
    """Simulated differences whose rows of a group are alike as assumed."""
    drawn, found = np.random.default_rng(0), []
    for _ in range(60):
        own = drawn.normal(0, np.sqrt(0.3), groups)[np.arange(rows) % groups]
        values = 0.4 * (own + drawn.normal(0, np.sqrt(0.7), rows))
        parts = np.stack([values, np.ones(rows)], axis=1)
        found.append(detectable(mean, group_sums(parts, [str(n % groups) for n in range(rows)])))
    assert np.mean(found) == pytest.approx(expected_detectable(rows, groups, 0.4), rel=0.1)
    assert expected_detectable(rows, 5, 0.4) is None


def judge_windows(train: int, test: int) -> list[Finding]:
    """Return the findings where this many of ten windows of train and of test hold their answer."""
    found = Findings()
    watcher = Windows(found, 100, "dataset.yaml")
    for split, holding in (("test", test), ("train", train)):
        for line in range(10):
            one = seen(split, line, "The mill stood." if line < holding else "Nothing.", "mill")
            one.row["gold"]["answers"] = ["mill"]
            watcher.see(one)
    watcher.finish()
    return [one for kind in found.kinds.values() for one in kind.shown]


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (10, 9, [("note", "windows.hold_answer")]),
        (10, 4, [("warning", "windows.hold_answer")]),
        (8, 10, [("warning", "windows.answer_not_found"), ("note", "windows.hold_answer")]),
    ],
)
def test_windows_that_hold_no_answer_are_counted(
    train: int, test: int, expected: list[tuple[str, str]]
) -> None:
    assert [(one.grade, one.code) for one in judge_windows(train, test)] == expected
