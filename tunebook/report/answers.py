"""Read the answers of the contenders, and reject files that are truncated or have other content."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import from_json
from tunebook.core.paths import show
from tunebook.metrics.answers import Answer, answer_problems
from tunebook.runs.rows import read_rows
from tunebook.runs.run import Run

AGAIN = "Rerun the same command to evaluate again; finished batches are kept."


def read_answers(run: Run, names: list[str], split: str, labels: list[str]) -> dict[str, list[Answer]]:
    """Return the answers of each contender, one per row of `split`, in its order.

    If a file is damaged, the run's evaluation is marked as not done, so that it runs again.

    Raises:
        InputError: an empty split, a gold label that is not one of `labels`, a file that is missing,
            truncated or about other rows, or a NaN.
    """
    data = run / "data" / f"{split}.jsonl"
    rows = read_rows(data)
    if not rows:
        text = "has no rows to compare. Add rows to the split."
        raise InputError(Problem(text, show(data), code="split.no_rows"))
    golds = [(line, row["gold"]["answer"]) for line, row in enumerate(rows, 1)] if labels else []
    text = "is not among the labels of dataset.yaml (got {!r}). Add it there, or correct the row."
    raise_all(
        [
            Problem(text.format(gold), show(data), line, "gold", code="labels.unknown_gold")
            for line, gold in golds
            if gold not in labels
        ]
    )
    paths = {name: run / "eval" / "answers" / f"{name}.{split}.jsonl" for name in names}
    answers: dict[str, list[Answer]] = {}
    broken: list[Problem] = []
    for name, path in paths.items():
        answers[name], problems = _read(path, [row["id"] for row in rows])
        broken += problems
    if broken:
        run.forget("evaluate")
    raise_all(broken)
    raise_all([problem for name, path in paths.items() for problem in _no_numbers(path, answers[name])])
    return answers


def _read(path: Path, ids: list[str]) -> tuple[list[Answer], list[Problem]]:
    if not path.is_file():
        return [], [Problem(f"is missing. {AGAIN}", show(path), code="run.no_answers")]
    records: list[Answer] = []
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            try:
                records.append(from_json(raw))
            except ValueError:
                text = f"is truncated or not JSON. {AGAIN}"
                return [], [Problem(text, show(path), line, code="run.damaged_file")]
    if problems := answer_problems(path, records, AGAIN):
        return [], problems
    if [record["id"] for record in records] != ids:
        text = f"has other rows than the split (got {len(records)}, expected {len(ids)}). {AGAIN}"
        return [], [Problem(text, show(path), code="run.other_rows")]
    return records, []


def _no_numbers(path: Path, records: list[Answer]) -> list[Problem]:
    return [
        Problem(
            f"is not a number (got {value}). Did the training diverge? Look at the loss in "
            "train/history.json and try a lower learning_rate.",
            show(path),
            line,
            key,
            code="eval.not_a_number",
        )
        for line, record in enumerate(records, 1)
        for key, value in record.items()
        if not _finite(value)
    ]


def _finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
