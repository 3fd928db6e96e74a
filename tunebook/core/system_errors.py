"""Errors of the operating system that a person can mend: a full disk, a folder that cannot be written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

from tunebook.core.errors import MachineError, Problem, TunebookError
from tunebook.core.paths import cache_folder, runs_folder

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded")
LITTLE = 1 << 20  # bytes; with less left a program says anything, or nothing at all
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def of_system(error: OSError) -> MachineError | None:
    """Return the error that names the full or unwritable folder and how to choose another one; None
    where it is neither."""
    if error.errno not in FULL + CLOSED:
        return None
    path = str(error.filename) if error.filename is not None else None
    do = _instead(path)
    if error.errno in FULL:
        text = f"no space is left on the disk. Free some{do}."
        return MachineError(Problem(text, path, code="machine.no_space"))
    text = f"{(error.strerror or 'not allowed').lower()}. Make it writable for this user{do}."
    return MachineError(Problem(text, path, code="machine.not_writable"))


def raise_if_full(said: str, target: Path) -> None:
    """Raise the OSError of a full disk where that is why a child process could not write `target`: where it
    `said` so, or where nothing is left beside it."""
    if FULL_WORDS.search(said) or shutil.disk_usage(target.parent).free < LITTLE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def _instead(path: str | None) -> str:
    """Return the variable that names another folder than the one that holds `path`."""
    if path is None:
        return ""
    try:
        folders = {"TUNEBOOK_RUNS": runs_folder(), "TUNEBOOK_CACHE": cache_folder()}
    except TunebookError:
        folders = {}
    for name, folder in folders.items():
        # A parent that cannot be written keeps the folder from being made.
        if Path(path).is_relative_to(folder) or folder.is_relative_to(Path(path)):
            return f", or set {name} to another folder"
    return ", or set TMPDIR to another folder" if path.startswith(tempfile.gettempdir()) else ""
