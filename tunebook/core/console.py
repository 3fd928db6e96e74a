"""Terminal output: one line per finished stage, progress bars while it runs, the verdict last."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from rich.console import Console as Rich
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from tabulate import tabulate

from tunebook.core.markdown import visible

# pause between two lines without a terminal (s, doubles each time), and of a bar
FIRST_PAUSE, BAR_PAUSE = 4.0, 0.2
ENOUGH_STEPS, LONG = 10, 20 * 60  # steps before a time left is estimated; time left (s) that counts as long


class Stages(Protocol):
    """Records the stages of a run. `tunebook.runs.run.Run` implements it, but core may not import that."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


class Bars:
    """Progress bars fed by the lines of events.jsonl."""

    def __init__(
        self, progress: Progress, rich: Rich, stages: Sequence[str] = (), if_slow: str | None = None
    ) -> None:
        self.progress, self.rich, self.stages, self.if_slow = progress, rich, stages, if_slow
        self.first: tuple[int, float] | None = None  # step and time of the first training step shown
        self.tasks: dict[str, TaskID] = {}
        self.finished: set[str] = set()

    def show(self, event: dict[str, Any]) -> None:
        """Move the bar of the event's stage or job, with its last loss and tokens per second."""
        name = event.get("job", event["stage"])
        if name not in self.tasks:
            for task in self.tasks.values():
                self.progress.update(task, visible=False)
            place = ""
            if event["stage"] in self.stages:
                place = f"stage {self.stages.index(event['stage']) + 1} of {len(self.stages)}: "
            self.tasks[name] = self.progress.add_task(place + name, total=event["total"], measured="")
        task = self.tasks[name]
        self.progress.update(task, completed=event["done"], total=event["total"])
        if "loss" in event:
            speed = event.get("tokens_per_second")
            measured = f"loss {event['loss']:.3f}" + (f", {speed:,.0f} tokens/s" if speed else "")
            self.progress.update(task, measured=measured)
        if event["stage"] == "train" and "time" in event:
            self._say_if_slow(event)
        # Without a terminal (a log file, CI), print one line when a job has finished.
        if not self.rich.is_terminal and event["done"] == event["total"] and name not in self.finished:
            self.finished.add(name)
            self.rich.print(f"          {name}: {event['total']} done", highlight=False)

    def _say_if_slow(self, event: dict[str, Any]) -> None:
        """Warn once if training takes long: the time left and what would make it faster."""
        step, now = event["done"], event["time"]
        if self.first is None:
            self.first = step, now
        steps, seconds = step - self.first[0], now - self.first[1]
        if self.if_slow and steps >= ENOUGH_STEPS:
            left = (event["total"] - step) * seconds / steps
            if left > LONG:
                self.rich.print(f"          training takes {_span(left)} more. {self.if_slow}", markup=False)
            self.if_slow = None


class Console:
    """Prints to standard output; without a terminal, rich drops colors and bars."""

    def __init__(self, quiet: bool = False) -> None:
        # With FORCE_COLOR, which notebooks set, rich takes a pipe for a terminal and writes each frame of a
        # bar.
        drawn = None if sys.stdout.isatty() else False
        self.rich = Rich(highlight=False, soft_wrap=True, quiet=quiet, force_terminal=drawn)
        self.stages: Sequence[str] = ()  # all stages of the run in order, for "stage 2 of 7"
        self.if_slow: str | None = None  # advice to print when training takes long

    def stage(self, name: str, text: str, seconds: float | None = None) -> None:
        """Print one finished stage."""
        took = f"  [dim]{seconds:.1f} s[/dim]" if seconds is not None else ""
        self.rich.print(f"[bold]{name:<9}[/bold] {visible(text)}{took}")

    def note(self, text: str) -> None:
        self.rich.print(f"          {visible(text)}", markup=False)

    @contextmanager
    def timed(self, run: Stages | None, name: str) -> Iterator[list[str]]:
        """Run a stage: the block appends the text to print; with `run`, the stage's state is recorded."""
        words: list[str] = []
        start = time.monotonic()
        if run:
            with run.stage(name):
                yield words
        else:
            yield words
        self.stage(name, " ".join(words), time.monotonic() - start)

    @contextmanager
    def progress(self) -> Iterator[Bars]:
        # Without a terminal, rich would print an empty line instead of the bar.
        hidden = not self.rich.is_terminal
        with Progress(*self._columns(), console=self.rich, transient=True, disable=hidden) as bar:
            yield Bars(bar, self.rich, self.stages, self.if_slow)

    @staticmethod
    def _columns() -> tuple[ProgressColumn, ...]:
        return (
            TextColumn("          {task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[measured]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )

    @contextmanager
    def counting(self, what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Show how many of `total` items are done and the time left, starting after one second: a bar in a
        terminal, otherwise an occasional line. The block calls the function it receives once per item."""
        start, done, bar = time.monotonic(), 0, None
        next_time, pause = start + 1, FIRST_PAUSE

        def step() -> None:
            nonlocal done, next_time, pause
            done += 1
            now = time.monotonic()
            if now < next_time or done == 1:  # nothing follows from one
                return
            if bar:
                bar.update(task, completed=done, visible=True)
                next_time = now + BAR_PAUSE
            else:
                left = (now - start) / done * (total - done) if total else 0
                of = f" of {total:,}, about {_span(left)} left" if total else ""
                self.note(f"{what}: {done:,}{of}")
                next_time, pause = now + pause, 2 * pause

        if self.rich.is_terminal and not self.rich.quiet:
            with Progress(*self._columns(), console=self.rich, transient=True) as bar:
                task = bar.add_task(what, total=total, measured="", visible=False)
                yield step
        else:
            yield step

    def table(self, rows: list[dict[str, str]], title: str | None = None) -> None:
        """Print `rows`; their keys are the header. The first column holds names and is never wrapped. Without
        a terminal the table is plain text, one line per row."""
        rows = [{name: visible(value) for name, value in row.items()} for row in rows]
        if not self.rich.is_terminal:
            text = tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
            self.rich.print("\n".join(filter(None, (title, text))), markup=False)
            return
        table = Table(title=title, title_justify="left", pad_edge=False)
        for index, column in enumerate(rows[0] if rows else []):
            word = max(map(len, column.split()), default=1)  # no header is broken inside a word
            table.add_column(column, overflow="fold", no_wrap=index == 0, min_width=word)
        for row in rows:
            table.add_row(*row.values())
        self.rich.print(table)


def _span(seconds: float) -> str:
    """Return a duration for people: 40 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
