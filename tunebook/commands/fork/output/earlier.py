"""An earlier fork of the same name: finished, incomplete, or since changed by the user.

Each folder that fork writes contains `.fork.json`: the command, and the hash of each file. A folder with
unchanged files may be written again, with the same FROM and DATA; any other folder belongs to the user.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import file_sha256, read_json, write_json
from tunebook.core.paths import runs_folder, show

RECORD, SCRAP, REPORT = ".fork.json", ".fork-", "fork.txt"
OLD = 24 * 3600.0  # seconds; no fork takes a day
DERIVED = {RECORD, REPORT, "rows"}  # files at the top of a folder that can be written again without loss


def scrap(home: Path) -> Path:
    """Return a new folder in `home` to fill before it is renamed; its name tells which process owns it."""
    path = home / f"{SCRAP}{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def clear(home: Path) -> None:
    """Remove what killed forks left in `home`; a running fork keeps its own folder."""
    for path in home.glob(f"{SCRAP}*"):
        owner = path.name.removeprefix(SCRAP)
        # A number that another process has by now must not keep one for ever.
        old = time.time() - path.stat().st_mtime > OLD
        if old or not (owner.isdecimal() and int(owner) != os.getpid() and _runs(int(owner))):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def record(folder: Path, command: Mapping[str, Any]) -> None:
    """Record the command that made `folder`, and the hashes of its files."""
    files = {str(path.relative_to(folder)): file_sha256(path) for path in _files(folder)}
    write_json(folder / RECORD, {"command": dict(command), "files": files})


def check_free(folders: list[Path], command: Mapping[str, Any]) -> None:
    """Accept an unchanged fork of the same FROM and DATA that was never run: it is written again, so that
    other options can be tried.

    Raises:
        InputError: one of the folders exists and was made differently, has been changed, or has runs.
    """
    for folder in folders:
        if not folder.exists():
            continue
        known = _record_of(folder)
        same = known and all(known["command"].get(name) == command[name] for name in ("origin", "data"))
        if known is None or not same or (runs_folder() / folder.name).exists():
            text = f"{show(folder)} already exists. Choose another name, or remove it."
            raise InputError(Problem(text, key="NAME", code="fork.name_taken"))
        now = {str(path.relative_to(folder)): file_sha256(path) for path in _files(folder)}
        then = known["files"]
        if changed := sorted(name for name in {**now, **then} if now.get(name) != then.get(name)):
            text = f"{show(folder)} was changed after the fork ({', '.join(changed[:3])}). Choose another "
            text += "name, or remove it."
            raise InputError(Problem(text, key="NAME", code="fork.name_taken"))
    there = [show(folder) for folder in folders if folder.exists()]
    if 0 < len(there) < len(folders):
        print(
            f"{there[0]} is of a fork that was stopped before it was done; it is written again",
            file=sys.stderr,
        )


def _record_of(folder: Path) -> dict[str, Any] | None:
    try:
        known = read_json(folder / RECORD)
    except InputError:
        return None
    parts = [known.get(name) for name in ("files", "command")] if isinstance(known, dict) else [None]
    return known if all(isinstance(part, dict) for part in parts) else None


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in DERIVED
    ]
