"""`tunebook exercise`: show the exercises of the guide, and look for their results in the finished runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tunebook.commands.exercise.exercises import EXERCISES
from tunebook.commands.options import console
from tunebook.core.console import Console
from tunebook.core.errors import GATE_FAILED, GOOD
from tunebook.metrics.schema import Metrics
from tunebook.report.leaderboard import everything


def exercise_command(
    number: Annotated[
        int | None, typer.Argument(metavar="N", min=1, max=len(EXERCISES), help="its number; default: all")
    ] = None,
) -> int:
    """Show the ten exercises of the guide, and check their results.

    Exits with 3 if no finished run shows the result of exercise N yet.
    """
    return run_exercise(number, console())


def run_exercise(number: int | None, out: Console) -> int:
    """Print one exercise and its result, if found; without a number, list all of them."""
    runs = finished(out)
    if number is None:
        rows = [
            {"N": str(at), "exercise": one.title, "result": one.check(runs) or "not yet"}
            for at, one in enumerate(EXERCISES, start=1)
        ]
        out.table(rows)
        return GOOD
    exercise = EXERCISES[number - 1]
    found = exercise.check(runs)
    out.stage("exercise", f" {number}: {exercise.title}. {exercise.task}")
    out.stage("command", exercise.command)
    out.stage("result", found or "not yet: no finished run shows it")
    return GOOD if found else GATE_FAILED


def finished(out: Console) -> list[Metrics]:
    """Return the metrics of all finished runs, the newest last; damaged ones are skipped and named."""
    entries, left_out = everything()
    for problem in left_out:
        out.note(f"skipped: {problem}")
    entries.sort(key=lambda entry: (entry.run / "metrics.json").stat().st_mtime)
    return [entry.measured for entry in entries]
