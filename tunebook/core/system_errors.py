"""Operating system errors that a person can fix: a full disk, a folder that is not writable."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

from tunebook.core.errors import InputError, MachineError, Problem, TunebookError
from tunebook.core.paths import cache_folder, runs_folder

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded")
LITTLE = 1 << 20  # bytes; with less free, programs fail with any message or none
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def of_system(error: OSError) -> TunebookError | None:
    """Return an error that names the full or unwritable folder and how to use another one, or the file name
    that is too long; None for any other OSError."""
    if error.errno == errno.ENAMETOOLONG:
        name = str(error.filename)
        text = f"a name of {len(name):,} characters is too long for a file ({name[:40]}...). Shorten it."
        return InputError(Problem(text, code="option.name_too_long"))
    if error.errno not in FULL + CLOSED:
        return None
    path = str(error.filename) if error.filename is not None else None
    do = _instead(path)
    if error.errno in FULL:
        text = f"no space is left on the disk. Free some{do}."
        return MachineError(Problem(text, path, code="machine.no_space"))
    text = f"{(error.strerror or 'not allowed').lower()}. Make it writable for this user{do}."
    return MachineError(Problem(text, path, code="machine.not_writable"))


def raise_if_full(log_text: str, target: Path) -> None:
    """Raise an OSError for a full disk if that is why a child process could not write `target`: either
    `log_text` says so, or no space is left next to it."""
    if FULL_WORDS.search(log_text) or shutil.disk_usage(target.parent).free < LITTLE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def _instead(path: str | None) -> str:
    """Return the advice to set the variable that moves the folder containing `path`."""
    if path is None:
        return ""
    try:
        folders = {"TUNEBOOK_RUNS": runs_folder(), "TUNEBOOK_CACHE": cache_folder()}
    except TunebookError:
        folders = {}
    for name, folder in folders.items():
        # If a parent folder is not writable, the folder could not be created.
        if Path(path).is_relative_to(folder) or folder.is_relative_to(Path(path)):
            return f", or set {name} to another folder"
    return ", or set TMPDIR to another folder" if path.startswith(tempfile.gettempdir()) else ""
