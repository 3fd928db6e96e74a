"""The score of an exported file, measured again: the same rows and metric before and after.

`measure_parity` starts the measurement in a separate process; `line_of` makes one line of the table from the
records of both. The lines are stored in export/parity/ and repeated in metrics.json and the report.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from tunebook.core.console import Console
from tunebook.core.errors import TunebookError
from tunebook.core.files import read_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.metrics.aggregate import difference
from tunebook.metrics.answers import Answer
from tunebook.metrics.schema import ParityLine
from tunebook.metrics.scoring import HIGHER_IS_BETTER, per_row
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run
from tunebook.training.child import follow

ROWS = 100  # minimum number of rows, if the split has as many
# share of answers; if fewer of a file's answers stop by this margin, the file is worse whatever its score
STOPS_LESS = 0.1
RUN, FILE = "tuned", "file"


def subset(rows: list[RenderedRow], seed: int) -> list[RenderedRow]:
    """Return at least ROWS of `rows` in their order, in whole groups drawn with `seed`."""
    groups = sorted({row["group"] for row in rows})
    random.Random(seed).shuffle(groups)
    chosen, count = set[str](), 0
    sizes = {group: sum(row["group"] == group for row in rows) for group in groups}
    for group in groups:
        if count >= ROWS:
            break
        chosen.add(group)
        count += sizes[group]
    return [row for row in rows if row["group"] in chosen]


def blank_line(
    artefact: str, weights: str, metric: str, tolerance: float, records: list[Answer]
) -> ParityLine:
    """Return the line of a file that was not measured, or whose chat template cannot render a prompt with its
    answer, next to the run's own answers `records`. `weights` is the hash of the run's model."""
    measured = [(record, value) for record in records if (value := per_row([record], metric)[0]) is not None]
    return {
        "artefact": artefact,
        "weights": weights,
        "metric": metric,
        "rows": len(measured),
        "groups": len({record["group"] for record, _ in measured}),
        "run": float(np.mean([value for _, value in measured])),
        "value": None,
        "difference": None,
        "low": None,
        "high": None,
        "tolerance": tolerance,
        "passed": False,
        "same_answers": None,
        "stop_rate_run": _rate(records),
        "stop_rate": None,
        "largest_gap": None,
        "prompts_equal": 0.0,
        "bytes": 0,
        "seconds_run": None,
        "seconds": None,
        "causes": [],
    }


def line_of(
    blank: ParityLine,
    records: dict[str, list[Answer]],
    losses: dict[str, list[float]],
    labels: list[str],
    prompts_equal: float,
) -> ParityLine:
    """Compare the answers of a file with those of its run.

    Args:
        blank: the line made by `blank_line` from the run's answers.
        records: for RUN and FILE, one record per row in the same order.
        losses: for RUN and FILE, the loss of each row's reference answer (bits per byte).
        prompts_equal: share of rows whose prompt has the same tokens.
    """
    metric = blank["metric"]
    found = difference(metric, FILE, RUN, records, labels)
    assert found is not None
    # The smallest drop inside the interval; without an interval, the observed drop.
    sign, kind = (1, found["high"]) if HIGHER_IS_BETTER[metric] else (-1, found["low"])
    least = -sign * (found["difference"] if kind is None else kind)
    gaps = np.abs(np.array(losses[FILE]) - np.array(losses[RUN]))
    stops = _rate(records[FILE])
    stops_less = (blank["stop_rate_run"] or 0.0) - (stops or 0.0) > STOPS_LESS
    return {
        **blank,
        "value": blank["run"] + found["difference"],
        "difference": found["difference"],
        "low": found["low"],
        "high": found["high"],
        "passed": bool(least <= blank["tolerance"]) and not stops_less,
        "same_answers": _same_answers(records),
        "stop_rate": stops,
        "largest_gap": float(gaps.max()),
        "prompts_equal": prompts_equal,
    }


def _same_answers(records: dict[str, list[Answer]]) -> float | None:
    """Return the share of rows with the same answer, among those that both answered."""
    pairs = [
        (one["answer"], other["answer"])
        for one, other in zip(records[RUN], records[FILE], strict=True)
        if "answer" in one and "answer" in other
    ]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def _rate(records: list[Answer]) -> float | None:
    values = [record["stopped"] for record in records if "stopped" in record]
    return sum(values) / len(values) if values else None


def path_of(run: Run, artefact: str) -> Path:
    """Return the file that stores one line of the table."""
    return run / "export" / "parity" / f"{artefact}.json"


def measure_parity(run: Run, artefact: str, files: list[Path], console: Console) -> ParityLine:
    """Measure the run's model and the artefact in `files` on the same rows; return the line.

    Raises:
        TunebookError: the measurement failed; the answers so far are kept.
    """
    path = path_of(run, artefact)
    path.parent.mkdir(parents=True, exist_ok=True)
    with console.timed(None, "measure") as words:
        try:
            follow(
                "tunebook.export.parity_worker",
                [str(run.folder), artefact, *map(str, files)],
                console,
                run.log,
                run / "events.jsonl",
                offline=True,
            )
        except ChildError as error:
            raise TunebookError(
                f"{artefact} could not be measured: {error}\nLog: {show(run.log)}. Rerun the same command "
                "to resume.",
                code="export.not_measured",
            ) from None
        line: ParityLine = read_json(path)
        words.append(f"{artefact} on {line['rows']} examples")
    return line
