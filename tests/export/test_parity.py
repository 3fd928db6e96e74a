"""One line of the table that compares a file with its run."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.export.parity import FILE, RUN, blank_line, line_of, subset


def rows(groups: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"{g}-{i}", "group": f"g{g}"} for g in range(groups) for i in range(size)]


def records(right: list[bool]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "group": str(i),
            "gold": "a",
            "answer": "a" if ok else "b",
            "label": "a" if ok else "b",
        }
        | {"stopped": True}
        for i, ok in enumerate(right)
    ]


def compared(
    run: list[Any], file: list[Any], gaps: list[float] | None = None, tolerance: float = 0.02
) -> Any:
    losses = {RUN: [1.0] * len(run), FILE: [1.0 + gap for gap in gaps or [0.0] * len(run)]}
    blank = blank_line("gguf-q8_0", "hash", "accuracy", tolerance, run)
    return line_of(blank, {RUN: run, FILE: file}, losses, ["a", "b"], 1.0)


def line(run: list[bool], file: list[bool], **options: Any) -> Any:
    return compared(records(run), records(file), **options)


def test_subset_keeps_groups_whole_and_is_drawn_by_the_seed() -> None:
    every = rows(60, 3)
    chosen = subset(every, 42)
    assert 100 <= len(chosen) <= 102
    assert {r["group"] for r in chosen}.isdisjoint(r["group"] for r in every if r not in chosen)
    assert chosen == subset(every, 42) != subset(every, 43)
    assert subset(rows(7), 1) == rows(7)


def test_equal_answers_pass() -> None:
    found = line([True] * 90 + [False] * 10, [True] * 90 + [False] * 10)
    assert found["passed"] and found["difference"] == 0 and found["same_answers"] == 1


def test_a_drop_beyond_the_tolerance_fails() -> None:
    found = line([True] * 100, [True] * 60 + [False] * 40)
    assert not found["passed"]
    assert found["difference"] == pytest.approx(-0.4)
    assert found["high"] < -0.02


def test_the_tolerance_decides_which_drop_fails() -> None:
    right, wrong = [True] * 100, [True] * 60 + [False] * 40
    assert [line(right, wrong, tolerance=share)["passed"] for share in (0.02, 0.29, 0.9)] == [
        *(False, False, True)
    ]


def test_a_file_without_an_answer_has_the_run_beside_it() -> None:
    found = blank_line("merged", "hash", "accuracy", 0.02, records([True] * 3 + [False]))
    assert (found["run"], found["rows"], found["groups"], found["stop_rate_run"]) == (0.75, 4, 4, 1.0)
    assert found["value"] is None and not found["passed"]


def test_a_drop_that_the_rows_cannot_show_passes() -> None:
    assert line([True] * 100, [True] * 99 + [False])["passed"]


def test_a_file_that_is_better_passes() -> None:
    assert line([False] * 50 + [True] * 50, [True] * 100)["passed"]


def test_the_largest_gap_has_no_sign() -> None:
    assert line([True] * 20, [True] * 20, gaps=[0.1] * 19 + [-3.0])["largest_gap"] == pytest.approx(3.0)


def test_a_file_that_does_not_stop_fails_whatever_it_scores() -> None:
    run, file = records([True] * 50), records([True] * 50)
    for record in file[:10]:
        record["stopped"] = False
    found = compared(run, file)
    assert found["difference"] == 0 and not found["passed"]
