"""What is kept of a rehearsal: runs/<recipe>/rehearsal-<key>/rehearsal.json.

Its metrics would be those of random weights. So the file marks its folder from the first moment: RUN= refuses
such a folder, `make compare` and `make results` do not see it, and everything else in it but the log is
removed when the rehearsal ends.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.core.files import read_json, write_json
from tunebook.core.paths import runs_folder
from tunebook.runs import records

MARK = "rehearsal.json"
LOG = "log.txt"
# kept of a rehearsal that failed, for its rows that are named in the message
EVIDENCE = ("config.yaml", "data")


class Rehearsal(TypedDict):
    """rehearsal.json. `key` is the hash of what was rehearsed; `exercised`, `not_exercised` and `price` are
    the lines that were printed at the end; `peak_gib` is the memory of the largest process; `error` is the
    message of one that failed."""

    key: str
    recipe: str
    status: Literal["running", "passed", "failed"]
    started: str
    seconds: float
    exercised: list[str]
    not_exercised: list[str]
    price: str
    peak_gib: float | None
    error: str | None


REHEARSAL = TypeAdapter(Rehearsal)


def folder(recipe: str, key: str) -> Path:
    """Return the folder of the rehearsal `key`, the only one for that key."""
    return runs_folder() / recipe / f"rehearsal-{key}"


def is_rehearsal(run: Path) -> bool:
    """Return whether a run folder belongs to a rehearsal, finished or not."""
    return (run / MARK).exists()


def begin(recipe: str, key: str) -> Path:
    """Return the marked folder of a new rehearsal; the caller has locked it. What an earlier one left, even
    one that was killed, is removed."""
    home = folder(recipe, key)
    home.mkdir(0o700, parents=True, exist_ok=True)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _write(
        home,
        {
            "key": key,
            "recipe": recipe,
            "status": "running",
            "started": started,
            "seconds": 0.0,
            "exercised": [],
            "not_exercised": [],
            "price": "",
            "peak_gib": None,
            "error": None,
        },
    )
    _empty(home, (MARK,))
    return home


def passed(
    home: Path, seconds: float, exercised: list[str], not_exercised: list[str], price: str
) -> Rehearsal:
    """Record that a rehearsal passed, and remove its model and scores."""
    usage = read_json(home / "eval" / "usage.json", {})
    _empty(home, (MARK, LOG))
    found = records.read(home / MARK, REHEARSAL)
    found |= {"exercised": exercised, "not_exercised": not_exercised, "price": price}
    found |= {"status": "passed", "seconds": round(seconds, 1), "peak_gib": max(usage.values(), default=None)}
    _write(home, found)
    return found


def failed(home: Path, error: str) -> None:
    """Record that a rehearsal failed, and remove all but its log, config and rows."""
    _empty(home, (MARK, LOG, *EVIDENCE))
    _write(home, {**records.read(home / MARK, REHEARSAL), "status": "failed", "error": error})


def find_passed(recipe: str, key: str) -> Rehearsal | None:
    """Return the rehearsal `key` if it passed.

    Raises:
        InputError: its file is damaged.
    """
    path = folder(recipe, key) / MARK
    if not path.is_file():
        return None
    found = records.read(path, REHEARSAL)
    return found if found["status"] == "passed" else None


def _write(home: Path, value: Rehearsal) -> None:
    write_json(home / MARK, value)


def _empty(home: Path, kept: tuple[str, ...]) -> None:
    for path in home.iterdir():
        if path.name in kept or path.name in (".lock", "holder.json"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
