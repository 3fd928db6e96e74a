"""Rows that cannot be used: the error that lists them by kind, and the file with all of them."""

from __future__ import annotations

from dataclasses import replace

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import Row, write_jsonl
from tunebook.core.paths import cache_folder, show

MAX_SHOWN = 3  # bad rows shown per kind


def bad_rows(problems: list[Problem], name: str, good: int, allowed: int = 0) -> InputError:
    """Return the error about bad rows: the first three of each kind and a count, and how to drop them.

    If there are more than three of a kind, all are written to a file, which the error names.

    Args:
        name: the name of the dataset.
        good: the number of valid rows.
        allowed: how many bad rows may be dropped without an error.
    """
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.code, []).append(problem)
    shown: list[Problem] = []
    lines: list[str] = []
    for code, some in kinds.items():
        first = some[:MAX_SHOWN]
        shown += first
        told: set[str] = set()
        for problem in first:
            lines.append(str(replace(problem, text="the same.") if problem.text in told else problem))
            told.add(problem.text)
        if (more := len(some) - MAX_SHOWN) > 0:
            text = f"{more} more of this kind ({code}), {len(some)} in all."
            shown.append(Problem(text, some[0].file, code="rows.more_faults"))
            lines.append(str(shown[-1]))
    count = len(problems)
    if len(shown) < count:
        file = cache_folder() / "bad-rows" / f"{name}.jsonl"
        write_jsonl(file, map(as_row, problems))
        lines.append(f"All {count} are in {show(file)}.")
    if count <= good and not any(is_fatal(problem) for problem in problems):
        of = f"{count} of {count + good} rows cannot be used" + (f" (allowed: {allowed})" if allowed else "")
        lines.append(
            f"{of}. Correct them, or drop them with --drop-bad {count} (DROP_BAD={count}) of fork or "
            f"`allow_drop: {count}` in dataset.yaml."
        )
    return InputError("\n".join(lines), problems=shown)


def bad_count(count: int) -> str:
    """Return the number of bad rows as the subject of a sentence."""
    return f"{count} bad row is" if count == 1 else f"{count} bad rows are"


def is_fatal(problem: Problem) -> bool:
    """Return whether the rows after this one cannot be read either, as in a truncated JSON document."""
    return problem.code.startswith("data.")


def as_row(problem: Problem) -> Row:
    """Return a bad row's place, id, field, code and reason as one object."""
    line = problem.line
    return {
        "file": None if problem.file is None else str(problem.file),
        "line": None if line is None else int(line),
        "id": getattr(line, "row", "") or None,
        "field": problem.key,
        "code": problem.code,
        "reason": problem.text,
    }
