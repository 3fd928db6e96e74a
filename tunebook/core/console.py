"""What a person sees: one tidy line a stage, bars while they wait, the verdict last."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from rich.console import Console as Rich
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from tabulate import tabulate


class Stages(Protocol):
    """What records the stages of a run: `tunebook.runs.run.Run`, which this package may not import."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


class Bars:
    """Progress bars fed by the lines of events.jsonl."""

    def __init__(self, progress: Progress, rich: Rich) -> None:
        self.progress, self.rich = progress, rich
        self.tasks: dict[str, TaskID] = {}
        self.finished: set[str] = set()

    def show(self, event: dict[str, Any]) -> None:
        name = event.get("job", event["stage"])
        if name not in self.tasks:
            for task in self.tasks.values():
                self.progress.update(task, visible=False)
            self.tasks[name] = self.progress.add_task(name, total=event["total"])
        self.progress.update(self.tasks[name], completed=event["done"], total=event["total"])
        # Where nobody can see a bar move (a log, CI), say once that a piece is finished.
        if not self.rich.is_terminal and event["done"] == event["total"] and name not in self.finished:
            self.finished.add(name)
            self.rich.print(f"          {name}: {event['total']} done", highlight=False)


class Console:
    """Prints to standard output; rich drops colours and bars by itself where there is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.rich = Rich(highlight=False, soft_wrap=True, quiet=quiet)

    def stage(self, name: str, text: str, seconds: float | None = None) -> None:
        """Print one finished stage."""
        took = f"  [dim]{seconds:.1f} s[/dim]" if seconds is not None else ""
        self.rich.print(f"[bold]{name:<9}[/bold] {text}{took}")

    def note(self, text: str) -> None:
        self.rich.print(f"          {text}", markup=False)

    @contextmanager
    def timed(self, run: Stages | None, name: str) -> Iterator[list[str]]:
        """Run a stage: the block appends what to say; with `run`, its state is recorded."""
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
        columns = (TextColumn("          {task.description}"), BarColumn(), MofNCompleteColumn())
        times, hidden = (TimeElapsedColumn(), TimeRemainingColumn()), not self.rich.is_terminal
        # Where there is no terminal, rich would leave an empty line in place of the bar.
        with Progress(*columns, *times, console=self.rich, transient=True, disable=hidden) as bar:
            yield Bars(bar, self.rich)

    def table(self, rows: list[dict[str, str]], title: str | None = None) -> None:
        """Print `rows`, whose keys are the head. The first column holds names and is never broken; without a
        terminal it is plain text, a line for each row."""
        if not self.rich.is_terminal:
            text = tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
            self.rich.print("\n".join(filter(None, (title, text))), markup=False)
            return
        table = Table(title=title, title_justify="left", pad_edge=False)
        for index, column in enumerate(rows[0] if rows else []):
            table.add_column(column, overflow="fold", no_wrap=index == 0)
        for row in rows:
            table.add_row(*row.values())
        self.rich.print(table)
