"""A run folder: lock, state, manifest, log. Layout in docs/ARCHITECTURE.md."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import runs_folder, show


class Run:
    """One folder below runs/<recipe>/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def log(self) -> Path:
        return self / "log.txt"

    def state(self) -> dict[str, Any]:
        return read_json(self / "state.json", {"stages": {}})

    def done(self, stage: str) -> bool:
        return self.state()["stages"].get(stage, {}).get("status") == "done"

    def mark(self, stage: str, status: str, seconds: float | None = None) -> None:
        """Record where `stage` is; `seconds` adds to what earlier tries took."""
        state = self.state()
        entry = state["stages"].setdefault(stage, {"seconds": 0.0})
        entry["status"] = status
        entry["seconds"] = round(entry["seconds"] + (seconds or 0.0), 2)
        write_json(self / "state.json", state)

    def forget(self, *stages: str) -> None:
        """Take back that `stages` are done, so that they run again."""
        state = self.state()
        for stage in stages:
            state["stages"].pop(stage, None)
        write_json(self / "state.json", state)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Mark `name` running, then done; after an exception it stays `running`."""
        self.mark(name, "running")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self.mark(name, "running", time.monotonic() - start)
            raise
        self.mark(name, "done", time.monotonic() - start)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run folder.

        Raises:
            MachineError: another process has it; says which.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = read_json(self / "holder.json", {})
            raise MachineError(
                f"{show(self.folder)}: in use by process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}. Wait for it, or stop it."
            ) from None
        try:
            write_json(self / "holder.json", {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            (self / "holder.json").unlink(missing_ok=True)
            lock.release()


def pick(recipe: str, run_id: str, new: bool) -> Run:
    """Return the run folder for `run_id`: the newest of it, or with `new` a fresh one when the
    newest is finished."""
    parent = runs_folder() / recipe
    taken = sorted(
        (path for path in parent.glob(f"{run_id}*") if path.is_dir()),
        key=lambda path: int(path.name.partition("-")[2] or 1),
    )
    if not taken:
        return Run(parent / run_id)
    newest = Run(taken[-1])
    if new and newest.done("report"):
        number = int(newest.folder.name.partition("-")[2] or 1) + 1
        return Run(parent / f"{run_id}-{number}")
    return newest


def find(text: str) -> Run:
    """Return the run that `RUN=` names: `<recipe>/latest`, `<recipe>/<id>` or a path.

    Raises:
        InputError: there is none.
    """
    for candidate in (Path(text), runs_folder() / text):
        if (candidate / "state.json").is_file():
            return Run(candidate.resolve())
    raise InputError(f"RUN: no run at {text!r}. Give <recipe>/latest, <recipe>/<id> or a folder.")


def point_latest(run: Run) -> None:
    """Make runs/<recipe>/latest a link to `run`."""
    link = run.folder.parent / "latest"
    temporary = link.with_name(f".latest-{os.getpid()}")
    temporary.symlink_to(run.folder.name)
    os.replace(temporary, link)


MERGED = "merged"
