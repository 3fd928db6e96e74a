"""Progress is said from the second second on, with the time left; not where nobody wants it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Rich
from rich.progress import Progress

from tunebook.core import console as consoles
from tunebook.core.console import Bars, Console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be changed by a test; each look at it takes a hundredth of a second."""
    now = [100.0]

    def monotonic() -> float:
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(consoles.time, "monotonic", monotonic)
    return now


def counted(clock: list[float], total: int | None, steps: int = 3000, **options: bool) -> str:
    out = io.StringIO()
    console = Console()
    console.rich = Rich(file=out, soft_wrap=True, width=200, **options)
    with console.counting("rows", total) as step:
        for _ in range(steps):
            step()
    return out.getvalue()


def test_lines_get_rarer_and_say_what_is_left(clock: list[float]) -> None:
    lines = counted(clock, 3000).splitlines()
    done = [int(line.split()[1].replace(",", "")) for line in lines]
    assert [round(count / 100) for count in done] == [1, 5, 13, 29]  # seconds: a row takes a hundredth
    left = [int(line.partition("about ")[2].split()[0]) for line in lines]
    assert left == [30 - round(count / 100) for count in done]


def test_without_a_total_no_time_is_promised(clock: list[float]) -> None:
    lines = counted(clock, None).splitlines()
    assert len(lines) == 4 and not any("left" in line for line in lines)


def test_nothing_where_it_is_quick_or_quiet(clock: list[float]) -> None:
    assert counted(clock, 90, steps=90) == ""
    assert counted(clock, 3000, quiet=True) == ""
    assert counted(clock, 3000, quiet=True, force_terminal=True) == ""


def test_a_cell_of_a_notebook_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jupyter sets FORCE_COLOR for what its cells start; the frames of a spinner would fill the cell."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console()
    with console.rich.status("reading"), console.progress() as bars:
        bars.show({"stage": "train", "done": 1, "total": 1})
        console.stage("train", "done")
    assert capsys.readouterr().out == "          train: 1 done\ntrain     done\n"


def test_a_terminal_gets_a_bar(clock: list[float]) -> None:
    text = counted(clock, 3000, force_terminal=True)
    assert "rows" in text and "ETA" in text and "about" not in text


@pytest.mark.parametrize(("a_step", "steps", "said"), [(10.0, 12, True), (1.0, 12, False), (10.0, 9, False)])
def test_a_slow_training_is_said_once_after_ten_steps(a_step: float, steps: int, said: bool) -> None:
    out = io.StringIO()
    bars = Bars(Progress(disable=True), Rich(file=out, width=200), ["train"], "Do less.")
    for step in range(1, steps + 1):
        bars.show({"stage": "train", "done": step, "total": 200, "time": 5.0 + a_step * step})
    assert ("training takes 32 min more. Do less." in out.getvalue()) == said
    assert out.getvalue().count("Do less.") == said


def test_one_row_that_took_long_is_no_line(clock: list[float]) -> None:
    clock[0] = 0.0
    out = io.StringIO()
    console = Console()
    console.rich = Rich(file=out, soft_wrap=True, width=200)
    with console.counting("rows", None) as step:
        clock[0] += 5
        step()
        assert out.getvalue() == ""
        step()
    assert out.getvalue().split() == ["rows:", "2"]
