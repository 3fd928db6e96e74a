"""A run folder: lock, state, manifest, log. Layout in docs/ARCHITECTURE.md."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from tunebook.core.errors import InputError, MachineError, Problem
from tunebook.core.files import AxolotlConfig, read_json, write_json
from tunebook.core.paths import runs_folder, show
from tunebook.runs import records
from tunebook.runs.records import Choice, History, Manifest, Placement, SessionEntry, Settings, State
from tunebook.runs.rehearsal import is_rehearsal

MERGED = "merged"  # folder of a fine-tuned model whose adapter was merged for evaluation
STATE, PLACEMENT, MANIFEST = TypeAdapter(State), TypeAdapter(Placement), TypeAdapter(Manifest)
SETTINGS: TypeAdapter[Settings] = TypeAdapter(records.WholeSettings)
HISTORY, CHOICE, SESSIONS = TypeAdapter(History), TypeAdapter(Choice), TypeAdapter(list[SessionEntry])


class Run:
    """A run's folder, runs/<recipe>/<id>/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def log(self) -> Path:
        return self / "log.txt"

    def state(self) -> State:
        """Return state.json, without stages for a new folder. For the errors of these readers, see
        `records.read`."""
        new: State = {"stages": {}}
        return records.read(self / "state.json", STATE, new)

    def settings(self) -> Settings:
        """Return settings.json."""
        return records.read(self / "settings.json", SETTINGS)

    def placement(self) -> Placement:
        """Return the part of settings.json that every run folder has, including a benchmark's."""
        return records.read(self / "settings.json", PLACEMENT)

    def history(self) -> History:
        """Return train/history.json."""
        return records.read(self / "train" / "history.json", HISTORY)

    def choice(self) -> Choice:
        """Return eval/choice.json."""
        return records.read(self / "eval" / "choice.json", CHOICE)

    def sessions(self) -> list[SessionEntry]:
        """Return sessions.json; [] for a run that never started."""
        return records.read(self / "sessions.json", SESSIONS, [])

    def manifest(self) -> Manifest:
        """Return manifest.json."""
        return records.read(self / "manifest.json", MANIFEST)

    def refuse_damaged(self) -> None:
        """Read every small file that is there, so that a damaged one is named before anything is done with
        the run.

        Raises:
            InputError: what the readers raise.
        """
        readers = {
            "settings.json": self.placement,
            "config.yaml": self.config,
            "manifest.json": self.manifest,
            "train/history.json": self.history,
            "eval/choice.json": self.choice,
            "sessions.json": self.sessions,
        }
        for name, read in readers.items():
            if (self / name).exists():
                read()

    def config(self) -> AxolotlConfig:
        """Return config.yaml, the config passed to Axolotl.

        Raises:
            InputError: the file is missing, is not YAML, or names no base model.
        """
        path = self / "config.yaml"
        try:
            config: AxolotlConfig = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            problem = Problem(records.NO_FILE, show(path), code="run.no_file")
            raise InputError(problem) from None
        except (yaml.YAMLError, ValueError, RecursionError, IsADirectoryError) as error:
            text = f"damaged ({error}). {records.RESTORE}"
            raise InputError(Problem(text, show(path), code="run.damaged_file")) from None
        if not isinstance(config, dict) or not isinstance(config.get("base_model"), str):
            text = f"damaged (it names no base_model). {records.RESTORE}"
            raise InputError(Problem(text, show(path), code="run.damaged_file"))
        return config

    def done(self, stage: str) -> bool:
        """Return whether `stage` is finished."""
        entry = self.state()["stages"].get(stage)
        return entry is not None and entry["status"] == "done"

    def mark(self, stage: str, status: str, seconds: float | None = None) -> None:
        """Record the status of `stage`; `seconds` is added to the time of earlier attempts."""
        state = self.state()
        before = state["stages"].get(stage, {"seconds": 0.0})["seconds"]
        state["stages"][stage] = {"seconds": round(before + (seconds or 0.0), 2), "status": status}
        write_json(self / "state.json", state)

    def forget(self, *stages: str) -> None:
        """Mark `stages` as not done, so that they run again."""
        state = self.state()
        for stage in stages:
            state["stages"].pop(stage, None)
        write_json(self / "state.json", state)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Mark `name` as running, then as done; after an exception it stays `running`."""
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
        """Lock the run folder, creating it if needed with access for its owner only, because it contains rows
        and logs.

        Raises:
            MachineError: another process has locked it; the message names it.
        """
        self.folder.mkdir(0o700, parents=True, exist_ok=True)
        lock = FileLock(self / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = read_json(self / "holder.json", {})
            raise MachineError(
                f"{show(self.folder)}: in use by process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}. Wait for it, or stop it.",
                code="run.in_use",
            ) from None
        try:
            write_json(self / "holder.json", {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            (self / "holder.json").unlink(missing_ok=True)
            lock.release()


def pick(recipe: str, run_id: str, new: bool) -> Run:
    """Return the newest run folder of `run_id`; with `new`, return a fresh one if the newest is finished."""
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


def find(text: str, finished: str | None = None) -> Run:
    """Return the run named by RUN: `<recipe>/latest`, `<recipe>/<id>` or a path.

    Raises:
        InputError: no such run, a rehearsal, one with a damaged file, or one that has not finished the stage
            `finished`.
    """
    named = (Path(text), runs_folder() / text)
    folders = [path for path in named if (path / "state.json").is_file() or is_rehearsal(path)]
    if not folders:
        raise InputError(
            f"RUN: no run at {text!r}. Give <recipe>/latest, <recipe>/<id> or a folder.", code="run.not_found"
        )
    run = Run(folders[0].resolve())
    if is_rehearsal(run.folder):
        text = "a rehearsal (REHEARSE=1) of random weights, whose scores mean nothing. Name another run."
        raise InputError(Problem(text, show(run.folder), key="RUN", code="run.rehearsal"))
    run.refuse_damaged()
    if finished and not run.done(finished):
        raise InputError(
            f"RUN: {show(run.folder)} has not finished the stage `{finished}`. Run its recipe to the end "
            "first.",
            code="run.not_finished",
        )
    return run


def point_latest(run: Run) -> None:
    """Make runs/<recipe>/latest a link to `run`."""
    link = run.folder.parent / "latest"
    temporary = link.with_name(f".latest-{os.getpid()}")
    temporary.symlink_to(run.folder.name)
    os.replace(temporary, link)
