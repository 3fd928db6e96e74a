"""Start a script of scripts/ in one process or several, follow its progress, explain its end; and let a
module write a folder in a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from tunebook.console import Console
from tunebook.errors import MachineError, StoppedError
from tunebook.keeper import Keeper
from tunebook.paths import ROOT, child_environment
from tunebook.stacks import dump_stacks

PR_SET_PDEATHSIG = 1
PORT = 29512  # where the nodes of one job meet


class ChildError(Exception):
    """A child ended with an error; the text is what its log says about it."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` leaves no orphan that
    would write beside the next try. Each fork has to ask for itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _begin() -> None:
    """Run in a child before its program: die with the parent, and write no core file where it is aborted,
    which would be as large as its memory."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def describe(code: int) -> str:
    """Return how a process with this exit code (negative: a signal) ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def follow(
    script: str,
    words: list[str],
    console: Console,
    log: Path,
    events: Path,
    world: int = 1,
    offline: bool = True,
    keeper: Keeper | None = None,
) -> None:
    """Run scripts/`script` with `words` and show the progress it appends to `events`; its output goes
    to `log`. With `world` above 1, torchrun starts that many processes, one a GPU. `offline` keeps
    the Hub's client from asking the network. `keeper` is told of checkpoints and knows the limits.

    After SIGTERM a training that is under way saves a checkpoint and stops; anything else is stopped at once.
    A child that is silent for longer than the keeper allows leaves its Python stacks in `log`.

    Raises:
        ChildError: it failed, or was silent for too long.
        StoppedError: SIGTERM arrived; what was saved is kept.
        MachineError: the hours that the keeper allows are spent; what was saved is kept.
    """
    command = [sys.executable]
    nodes = int(os.environ.get("TUNEBOOK_NODES", "1"))
    if world > 1:
        command = [*_torchrun(nodes), f"--nproc-per-node={world // nodes}"]
    command += [str(ROOT / "scripts" / script), *words]
    environment = child_environment() | {"TUNEBOOK_EVENTS": str(events), "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # A single process that sees more than one card falls back to DataParallel.
    seen = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(world // nodes)))
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(seen.split(",")[: world // nodes])
    environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver numbers them
    if offline:
        environment.setdefault("HF_HUB_OFFLINE", "1")
    stop = events.with_name("train") / "stop"
    stop.unlink(missing_ok=True)
    environment["TUNEBOOK_STOP"] = str(stop)
    events.touch()
    position = events.stat().st_size
    start = log.stat().st_size if log.exists() else 0
    with log.open("a", encoding="utf-8") as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_begin,
            start_new_session=True,  # a signal to the whole group is the parent's to pass on
        )
    with _Watch(child, stop, log, keeper) as watch, console.progress() as bars, events.open() as file:
        file.seek(position)
        while True:
            ended = child.poll() is not None
            for line in file.readlines():
                if line.endswith("\n"):
                    event = json.loads(line)
                    bars.show(event)
                    watch.saw(event)
            if ended:
                break
            watch.look()
            time.sleep(0.2)
    if child.returncode and watch.asked is not None:
        if watch.spent and keeper:
            raise MachineError(keeper.limit_message())
        raise StoppedError("Stopped. The same command goes on from what was saved last.")
    if watch.hung:
        raise ChildError(
            f"no progress and no output for {watch.quiet:.0f} s, so it was stopped; the Python stacks of its "
            "processes are at the end of the log"
        )
    if child.returncode:
        raise ChildError(last_error(log, start) or f"it {describe(child.returncode)}")


def write_folder(module: str, words: list[str], target: Path, log: Path | None = None) -> None:
    """Let `python -m module WORDS FOLDER` write a folder, and move it to `target` once it is whole, in place
    of what is there. Its output goes to `log`. Callers hold a lock, so that one process does it at a time.

    Raises:
        ChildError: it failed; `target` is as before.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    result = subprocess.run(
        [sys.executable, "-m", module, *words, str(partial)],
        cwd=ROOT,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=_begin,
    )
    if log:
        with log.open("a", encoding="utf-8") as file:
            file.write(result.stdout + result.stderr)
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        explained = lines and result.returncode > 0
        raise ChildError(lines[-1] if explained else f"it {describe(result.returncode)}")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


def _torchrun(nodes: int) -> list[str]:
    """Return the command that starts torchrun here, or on every node of a Slurm job."""
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    if nodes == 1:
        return [*torchrun, "--standalone"]
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    meet = f"--rdzv-endpoint={os.environ['TUNEBOOK_HEAD']}:{PORT}"
    return [*srun, *torchrun, f"--nnodes={nodes}", "--rdzv-backend=c10d", meet]


class _Watch:
    """Stops the child on SIGTERM, at the keeper's limit, after a long silence, and when the block is left
    early. A training is asked through the file `stop`, which it looks for after each step."""

    def __init__(self, child: subprocess.Popen[bytes], stop: Path, log: Path, keeper: Keeper | None) -> None:
        self.child, self.stop, self.log, self.keeper = child, stop, log, keeper
        self.notice = keeper.notice if keeper else 0.0
        self.quiet = keeper.quiet if keeper else None
        self.asked: float | None = None
        self.training = self.spent = self.hung = False
        self.size, self.heard = 0, time.monotonic()

    def saw(self, event: dict[str, Any]) -> None:
        self.training = event["stage"] == "train"
        self.heard = time.monotonic()
        if "saved" in event and self.keeper:
            self.keeper.saved()

    def look(self) -> None:
        """Do what is due now."""
        now, size = time.monotonic(), self.log.stat().st_size
        if size != self.size:
            self.size, self.heard = size, now
        if self.asked is None and self.keeper and self.keeper.spent():
            self.spent = True
            self.ask()
        if self.asked is not None and not (self.training and now < self.asked + self.notice):
            self.child.kill()  # files are replaced in one move, so nothing breaks
        if self.quiet and now > self.heard + self.quiet:
            self.hung = True
            dump_stacks(self.child.pid, self.log)
            self.child.kill()

    def ask(self, *_: Any) -> None:
        if self.asked is None:
            self.asked = time.monotonic()
            self.stop.parent.mkdir(exist_ok=True)
            self.stop.touch()

    def __enter__(self) -> _Watch:
        self.before = signal.signal(signal.SIGTERM, self.ask)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self.before)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def last_error(log: Path, start: int) -> str | None:
    """Return the last line written since `start` that looks like an exception's; where torchrun lost a
    process without one, which process and how."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.decode("utf-8", "replace") for line in deque(file, maxlen=600)]
    errors = [
        line.strip()
        for line in lines
        if re.match(r"^(\[rank\d+\]: ?)?(\w+\.)*\w*(Error|Exception|Interrupt)\b", line)
        and not re.search("ChildFailedError|SignalException", line)
    ]
    # A lost process is the cause; that the others then lose their connection is not.
    errors.sort(key=lambda line: line.startswith("ChildProcessError"))
    if errors:
        return errors[-1]
    cause = "".join(lines).rpartition("Root Cause")[2]  # the others, stopped after it, are listed as well
    found = re.search(r"rank\s*: (\d+) \(local_rank: \d+\)\n\s*exitcode\s*: (-?\d+)", cause)
    return f"process {found[1]} {describe(int(found[2]))}" if found else None
