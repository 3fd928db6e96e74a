"""Keep a run in storage (`STORE=`), so that it outlives its machine.

A state of a run is one JSON file that lists the run's files by SHA-256 and size; the files themselves are
stored next to it under their hashes. The list is written last, so an interrupted upload leaves the earlier
state intact, plus some unreferenced bytes. States are numbered, not dated, so a wrong clock does no harm.

    STORE/<recipe>/<id>/states/000007.json     {"number": 7, "step": 40, "host": ..., "files": {path: {...}}}
    STORE/<recipe>/<id>/files/<sha256>
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import MachineError
from tunebook.core.files import file_sha256, read_json, write_json
from tunebook.runs.checkpoints import ASIDE, RESUMED, fault, numbered
from tunebook.runs.run import Run
from tunebook.runs.storage import Storage
from tunebook.runs.supervised import FILE as SUPERVISED

KEPT_STATES = 2
IN_ONE_PIECE = 8_000_000  # bytes; a smaller file is read only once, because it may grow in the meantime
LEFT_OUT = (
    *(".lock", "holder.json", "store.json", ".merged.lock", "merged"),
    *("train/stop", "train/prepared", "train/broken", f"train/{ASIDE}"),
    "smoke",  # the folder of tunebook/pipeline/smoke.py
)
OF_TRAIN = ("history.json", "changed.json", SUPERVISED, RESUMED)


class DamagedError(Exception):
    """A state in the store is damaged; the text says how."""


class Store:
    """The states of one run below `url`. For the errors of the storage, see tunebook/runs/storage.py."""

    def __init__(self, url: str, run: Run) -> None:
        self.run = run
        self.storage = Storage(f"{url.rstrip('/')}/{run.folder.parent.name}/{run.folder.name}")
        self.hashes: dict[tuple[str, int, int], str] = {}
        self.whole: set[Path] = set()

    @property
    def number(self) -> int:
        """Number of the state that the run folder was last saved to or fetched from; 0 for none."""
        here = read_json(self.run / "store.json", {})
        return int(here.get("number", 0)) if here.get("url") == self.storage.url else 0

    @property
    def has_everything(self) -> bool:
        """Whether the run was finished when it was last saved or fetched."""
        return self.number > 0 and bool(read_json(self.run / "store.json")["finished"])

    def _note(self, number: int, step: int | None) -> None:
        here = {"url": self.storage.url, "number": number, "step": step}
        write_json(self.run / "store.json", here | {"finished": self.run.done("report")})

    def numbers(self) -> list[int]:
        """Return the numbers of all states, lowest first."""
        stems = [name.removesuffix(".json") for name in self.storage.names("states")]
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def save(self) -> int:
        """Save the current run folder to the store and return the number of the new state.

        Raises:
            MachineError: also if another machine has since continued the run.
        """
        kept = self._whole_states()
        newest = max(self.numbers(), default=0)
        if newest != self.number:
            host = next((state["host"] for state in kept if state["number"] == newest), "another machine")
            raise MachineError(
                f"STORE: {host} has since continued this run in {self.storage.url} (state {newest}; here: "
                f"{self.number}). Only one machine may run it at a time: stop one and restart the other.",
                code="store.other_machine",
            )
        there = {file["sha256"] for state in kept for file in state["files"].values()}
        files: dict[str, dict[str, Any]] = {}
        step = None
        for path in self._paths():
            name = path.relative_to(self.run.folder).as_posix()
            try:
                files[name] = self._put(path, there)
            except FileNotFoundError:
                # replaced in the meantime: the next state will contain the newer file
                if "/checkpoint-" in name:
                    return self.number
                continue
            if path.name == "trainer_state.json":
                step = max(step or 0, int(path.parent.name.partition("-")[2]))
        state: dict[str, Any] = {
            "schema": 1,
            "number": newest + 1,
            "step": step,
            "host": socket.gethostname(),
        }
        state |= {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "files": files}
        self.storage.write(f"states/{newest + 1:06d}.json", json.dumps(state, indent=1).encode())
        self._note(newest + 1, step)
        self._prune([*kept, state])
        return newest + 1

    def fetch(self, note: Callable[[str], None], small: bool = False) -> dict[str, Any] | None:
        """Fetch the newest undamaged state into the run folder and return it; None if it is already there.

        Args:
            note: called with a line for each damaged state.
            small: leave out the checkpoints, so that nothing can resume from this copy.

        Raises:
            MachineError: also if this disk is too small or every state is damaged.
        """
        numbers = self.numbers()
        if not numbers or numbers[-1] <= self.number:
            return None
        scratch = self.run.folder.with_name(f".{self.run.folder.name}.fetching")
        for number in reversed(numbers):
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                state = self._read_state(number)
                self._get_all(state, scratch, small)
            except DamagedError as error:
                note(f"store: state {number} is damaged ({error}); using the previous state")
                continue
            self._take_over(state, scratch, small)
            # the newest number even if an older state was fetched, so that the next state gets a higher one
            if not small:
                self._note(numbers[-1], state["step"])
            return state
        shutil.rmtree(scratch, ignore_errors=True)
        raise MachineError(
            f"STORE: every state of {self.storage.url} is damaged. Remove that folder and start again.",
            code="store.all_damaged",
        )

    def _paths(self) -> Iterator[Path]:
        """Yield the files of a state: the run folder without files that can be recreated or are being
        written, and without checkpoints once the evaluation has chosen one."""
        kept = set() if self.run.done("evaluate") else self._whole_checkpoints()
        for path in sorted(self.run.folder.rglob("*")):
            name = path.relative_to(self.run.folder).as_posix()
            first, *rest = name.split("/")
            if not path.is_file() or any(name == left or name.startswith(f"{left}/") for left in LEFT_OUT):
                continue
            if ".partial" in name or path.suffix.removeprefix(".").isdecimal():
                continue
            if first == "train" and len(rest) == 1 and rest[0] not in OF_TRAIN:
                continue
            if first == "train" and rest[0].startswith("checkpoint-") and rest[0] not in kept:
                continue
            yield path

    def _whole_checkpoints(self) -> set[str]:
        for _, path in numbered(self.run / "train"):
            # The trainer writes trainer_state.json last.
            if path not in self.whole and (path / "trainer_state.json").is_file() and fault(path) is None:
                self.whole.add(path)
        return {path.name for path in self.whole}

    def _put(self, path: Path, there: set[str]) -> dict[str, Any]:
        """Upload one file unless its content is in `there` already; return its hash and size."""
        before = path.stat()
        if before.st_size <= IN_ONE_PIECE:
            content = path.read_bytes()
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            if sha256 not in there:
                self.storage.write(f"files/{sha256}", content)
        else:
            key = (str(path), before.st_size, before.st_mtime_ns)
            if key not in self.hashes:
                self.hashes[key] = file_sha256(path)
            sha256, size = self.hashes[key], before.st_size
            if sha256 not in there:
                self.storage.upload(path, f"files/{sha256}")
            after = path.stat()
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise MachineError(f"STORE: {path} changed during its upload.", code="store.file_changed")
        if sha256 not in there:
            arrived = self.storage.size(f"files/{sha256}")
            if arrived != size:
                raise MachineError(
                    f"STORE: {self.storage.url}: {arrived} of {size} bytes of {path.name} arrived.",
                    code="store.short_upload",
                )
            there.add(sha256)
        return {"sha256": sha256, "bytes": size}

    def _prune(self, states: list[dict[str, Any]]) -> None:
        """Remove all but the newest states, and the files that only the removed states refer to."""
        kept = states[-KEPT_STATES:]
        numbers = {state["number"] for state in kept}
        needed = {file["sha256"] for state in kept for file in state["files"].values()}
        for number in self.numbers():
            if number not in numbers:
                self.storage.remove(f"states/{number:06d}.json")
        for name in self.storage.names("files"):
            if name not in needed:
                self.storage.remove(f"files/{name}")

    def _whole_states(self) -> list[dict[str, Any]]:
        """Return the newest states whose list of files is intact, oldest first."""
        states = []
        for number in self.numbers()[-KEPT_STATES:]:
            try:
                states.append(self._read_state(number))
            except DamagedError:
                continue  # the files it refers to are uploaded again
        return states

    def _read_state(self, number: int) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self.storage.read(f"states/{number:06d}.json"))
            if all(_sound(name, file) for name, file in state["files"].items()):
                return state
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            pass
        raise DamagedError("its list of files is incomplete")

    def _get_all(self, state: dict[str, Any], scratch: Path, small: bool) -> None:
        files = {n: file for n, file in state["files"].items() if not (small and "/checkpoint-" in n)}
        scratch.mkdir(parents=True)
        needed, free = sum(file["bytes"] for file in files.values()), shutil.disk_usage(scratch).free
        if needed > free:
            raise MachineError(
                f"{scratch.parent}: fetching the run from STORE needs {needed / 1e9:.1f} GB, but only "
                f"{free / 1e9:.1f} GB are free.",
                code="machine.disk_full",
            )
        for name, file in files.items():
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.storage.download(f"files/{file['sha256']}", target)
            except FileNotFoundError:
                raise DamagedError(f"{name} is missing") from None
            if target.stat().st_size != file["bytes"] or file_sha256(target) != file["sha256"]:
                raise DamagedError(f"{name} differs from what was uploaded")

    def _take_over(self, state: dict[str, Any], scratch: Path, small: bool) -> None:
        """Move the fetched files into the run folder; for a complete state, remove other checkpoints."""
        # until all files are moved, the folder holds no known state
        (self.run / "store.json").unlink(missing_ok=True)
        for _, path in [] if small else numbered(self.run / "train"):
            shutil.rmtree(path)
        now = time.time()
        for name in state["files"]:
            if (scratch / name).is_file():
                (self.run / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(scratch / name, self.run / name)
        for step, path in numbered(self.run / "train"):
            # the trainer removes the oldest checkpoints by modification time
            os.utime(path, (now, now + step / 1e6))
        shutil.rmtree(scratch)


def _sound(name: str, file: dict[str, Any]) -> bool:
    """Return whether an entry of a state's list is valid and stays inside the run folder."""
    return {"sha256", "bytes"} <= set(file) and not Path(name).is_absolute() and ".." not in Path(name).parts
