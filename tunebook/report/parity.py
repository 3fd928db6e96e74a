"""The exported files of a run, compared with the run: their scores on the same examples."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tunebook.core.console import Console
from tunebook.core.files import read_json
from tunebook.metrics.schema import ParityLine
from tunebook.models.fingerprint import weights_hash
from tunebook.report import names
from tunebook.report.format import number
from tunebook.runs.run import Run

LINE = TypeAdapter(ParityLine)


def parity_lines(run: Run) -> tuple[list[ParityLine], list[str]]:
    """Return the measurements of exported files by name, and the names of those to measure again, because
    they belong to other weights than the run's current ones or were made by another version of Tunebook."""
    paths = sorted((run / "export" / "parity").glob("*.json"))
    found = {path.stem: _line(path) for path in paths}
    weights = weights_hash(run / "model") if found else ""
    lines = [line for line in found.values() if line and line["weights"] == weights]
    return lines, sorted(found.keys() - {line["artefact"] for line in lines})


def _line(path: Path) -> ParityLine | None:
    """Return the line in `path`, or None if it was written by another version."""
    try:
        return LINE.validate_python(read_json(path))
    except ValidationError:
        return None


def again(name: str) -> str:
    """Return what to do about a file whose measurement is no longer valid."""
    return (
        f"the measurement of {name} is out of date: it was made by another version of Tunebook, or before "
        "the run's weights changed. make merge or make export measures it again."
    )


def sentence(line: ParityLine) -> str:
    """Return one file's score next to the run's, for the first screen of the report."""
    if line["value"] is None:
        return f"{line['artefact']} could not answer: {' '.join(line['causes'])}"
    metric, examples = line["metric"], names.count(line["rows"], "example")
    word = result(line)
    return (
        f"{line['artefact']} scores {number(metric, line['value'])} on {examples}, the run "
        f"{number(metric, line['run'])} on the same: {word} (difference {interval(line)})."
    )


def rows(lines: list[ParityLine]) -> list[dict[str, str]]:
    """Return a row of the table for each line, formatted for people."""
    return [
        {
            "file": line["artefact"],
            names.metric(line["metric"]): number(line["metric"], line["value"]),
            "run": number(line["metric"], line["run"]),
            "difference": interval(line),
            "same answers": share(line["same_answers"]),
            "largest loss gap": "-" if line["largest_gap"] is None else f"{line['largest_gap']:.3f}",
            "stops": share(line["stop_rate"]),
            "MB": f"{line['bytes'] / 1e6:,.0f}",
            "s/answer": "-" if line["seconds"] is None else f"{line['seconds']:.2f}",
            "result": result(line),
        }
        for line in lines
    ]


def result(line: ParityLine) -> str:
    """Return in words whether a file is worse than its run, and if so whether by more than its tolerance."""
    if not line["passed"]:
        return "worse"
    low, high = line["low"], line["high"]
    lower_is_better = names.direction(line["metric"]).startswith("lower")
    worse = (low is not None and low > 0) if lower_is_better else (high is not None and high < 0)
    return f"worse, within {line['tolerance']:g}" if worse else "no drop shown"


def interval(line: ParityLine) -> str:
    """Return the difference with its 95 % interval, in points or in the unit of the metric."""
    if line["difference"] is None:
        return "-"
    seen, low, high = (names.signed(line["metric"], line[key]) for key in ("difference", "low", "high"))
    return f"{seen} ({low} to {high})" if low else seen


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def show_lines(lines: list[ParityLine], console: Console) -> None:
    """Print the table, why a file is worse than its run, and how its prompts differ."""
    first, columns = lines[0], rows(lines)
    # One column per file fits into 80 columns.
    shown = [
        {"file": name, **{one["file"]: one[name] for one in columns}} for name in columns[0] if name != "file"
    ]
    console.table(shown, f"the same {first['rows']} examples, before and after")
    for line in lines:
        for cause in line["causes"]:
            console.note(f"{line['artefact']}: {cause}")
