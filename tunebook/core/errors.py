"""Errors meant for the person who typed the command, and the documented exit codes.

Each error has an exit code for scripts and a stable code such as `rows.not_utf8` for tests and for
docs/errors.md, which is generated from the code. The wording may change; the codes may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GOOD, UNEXPECTED, BAD_INPUT, GATE_FAILED, BAD_MACHINE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 75, 130


@dataclass(frozen=True)
class Problem:
    """One problem in a file, printed as `file:line: key: text`. `code` is `family.name`."""

    text: str
    file: Path | str | None = None
    line: int | None = None
    key: str | None = None
    code: str = ""

    def __str__(self) -> str:
        # `line` may be a `Spot`, which also names the row's id (tunebook/data/formats/place.py).
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (where, self.key, self.text) if part)


class TunebookError(Exception):
    """Base class of all errors shown without a traceback."""

    exit_code = UNEXPECTED

    def __init__(self, message: object = "", code: str = "", problems: list[Problem] | None = None) -> None:
        super().__init__(str(message))
        if problems is None and isinstance(message, Problem):
            problems = [message]
        self.problems = problems or [Problem(str(message), code=code)]

    @property
    def code(self) -> str:
        """Return the code of the first problem."""
        return self.problems[0].code

    @property
    def codes(self) -> list[str]:
        """Return the distinct codes of all problems."""
        return list(dict.fromkeys(problem.code for problem in self.problems if problem.code))


class InputError(TunebookError):
    """The recipe, the data or the command line is wrong (exit 2)."""

    exit_code = BAD_INPUT


class MachineError(TunebookError):
    """This machine cannot run the command: GPU, memory, disk, Hub, run folder in use (exit 4)."""

    exit_code = BAD_MACHINE


class StoppedError(TunebookError):
    """Stopped by SIGTERM after saving its state; rerun the same command to resume (exit 75)."""

    exit_code = STOPPED


class InterruptedByHandError(StoppedError):
    """Stopped by Ctrl-C after saving its state; rerun the same command to resume (exit 130)."""

    exit_code = INTERRUPTED


def raise_all(problems: list[Problem]) -> None:
    """Raise one InputError that shows every problem on a line; do nothing for an empty list."""
    if problems:
        raise InputError("\n".join(str(problem) for problem in problems), problems=problems)


class RowFault(Exception):
    """A problem in a row, at `field`; the reader of the file adds the row's position. `row` is the id of one
    row among several that are nested in one row of the file."""

    def __init__(self, field: str, text: str, code: str = "", row: str = "") -> None:
        super().__init__(text)
        self.field, self.code, self.row = field, code, row
