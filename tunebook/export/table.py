"""The table that compares what is handed out with the run."""

from __future__ import annotations

from tunebook.core.console import Console
from tunebook.metrics.schema import ParityLine
from tunebook.report import names
from tunebook.report.format import number


def rows(lines: list[ParityLine]) -> list[dict[str, str]]:
    """Return a row of the table for each line, as people read it."""
    return [
        {
            "file": line["artefact"],
            names.metric(line["metric"]): number(line["metric"], line["value"]),
            "run": number(line["metric"], line["run"]),
            "difference": interval(line),
            "same answers": share(line["same_answers"]),
            "stops": share(line["stop_rate"]),
            "MB": f"{line['bytes'] / 1e6:,.0f}",
            "s/answer": "-" if line["seconds"] is None else f"{line['seconds']:.2f}",
            "result": "as the run" if line["passed"] else "worse",
        }
        for line in lines
    ]


def interval(line: ParityLine) -> str:
    """Return the difference with its 95 % interval, in points or in the unit of the metric."""
    seen, low, high = (names.signed(line["metric"], line[key]) for key in ("difference", "low", "high"))
    return f"{seen} ({low} to {high})" if low else seen


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def show_lines(lines: list[ParityLine], console: Console) -> None:
    """Print the table, and the causes where a file is worse than its run."""
    first = lines[0]
    console.table(rows(lines), f"the same {first['rows']} examples, before and after")
    for line in lines:
        if line["prompts_equal"] < 1:
            console.note(
                f"{line['artefact']}: {line['prompts_equal']:.0%} of the prompts have the run's tokens"
            )
        for cause in line["causes"]:
            console.note(f"{line['artefact']}: {cause}")
