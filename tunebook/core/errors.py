"""Errors meant for the person who typed the command, and the documented exit codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GOOD, UNEXPECTED, BAD_INPUT, GATE_FAILED, BAD_MACHINE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 75, 130


class TunebookError(Exception):
    """Base of all errors shown without a traceback; `code` is the exit code."""

    code = UNEXPECTED


class InputError(TunebookError):
    """The recipe, the data or the command line is wrong (exit 2)."""

    code = BAD_INPUT


class MachineError(TunebookError):
    """This machine cannot do it: GPU, memory, disk, Hub, run folder in use (exit 4)."""

    code = BAD_MACHINE


class StoppedError(TunebookError):
    """Stopped by SIGTERM with its state saved; the same command goes on (exit 75)."""

    code = STOPPED


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: printed as `file:line: key: text`."""

    text: str
    file: Path | str | None = None
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (where, self.key, self.text) if part)


def raise_all(problems: list[Problem]) -> None:
    """Raise one InputError that shows every problem, a line each; do nothing for an empty list."""
    if problems:
        raise InputError("\n".join(str(problem) for problem in problems))


class RowFault(Exception):
    """One thing wrong in a row, at `field`; who reads the file adds where the row stands."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
