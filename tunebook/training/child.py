"""Run a module in one or several child processes, follow its progress, and explain how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from tunebook.core import visible
from tunebook.core.console import Console
from tunebook.core.environment import environment
from tunebook.core.errors import InterruptedByHandError, MachineError, StoppedError
from tunebook.core.paths import child_environment
from tunebook.core.process import ChildError, describe, last_error, running
from tunebook.core.system_errors import raise_if_full
from tunebook.runs.session import Session
from tunebook.training.stacks import dump_stacks

PORT = 29512  # port on which the nodes of a job find each other


class Lines:
    """The complete lines of a file to which another program is writing. The start of a line is kept until its
    rest has been written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.rest = file, b""

    def more(self) -> list[bytes]:
        """Return the lines that have been completed since the last call."""
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        return lines


def follow(
    module: str,
    words: list[str],
    console: Console,
    log: Path,
    events: Path,
    world: int = 1,
    offline: bool = True,
    session: Session | None = None,
    tracked: bool = False,
) -> None:
    """Run `python -m module` with `words` and show the progress it appends to `events`; its output is written
    to `log`. With `world` above 1, torchrun starts that many processes, one per GPU. `offline` keeps the
    Hub's client off the network. `session` is notified of checkpoints and defines the limits. `tracked`: the
    config enables Weights & Biases.

    On SIGTERM or Ctrl-C, a running training saves a checkpoint and stops; a second Ctrl-C stops it at once.
    Any other work is stopped at once. A child that is silent for longer than the session allows writes its
    Python stacks to `log` before it is ended.

    Raises:
        ChildError: the child failed, or was silent for too long.
        StoppedError: SIGTERM arrived; the saved state is kept. After Ctrl-C it is an InterruptedByHandError.
        KeyboardInterrupt: Ctrl-C while nothing is being trained, or a second Ctrl-C.
        MachineError: the time limit of the session is reached; the saved state is kept.
        OSError: the disk is full; the saved state is kept.
    """
    command = [sys.executable]
    here = environment()
    if world > 1:
        command = [*_torchrun(here.nodes, here.head), f"--nproc-per-node={world // here.nodes}"]
    command += ["-m", module, *words]
    variables = child_environment(tracked, here.nodes)
    variables |= {"TUNEBOOK_EVENTS": str(events), "PYTHONUNBUFFERED": "1"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
    # A single process that sees more than one GPU would use DataParallel.
    seen = visible.words()
    seen = [str(index) for index in range(world // here.nodes)] if seen is None else seen
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(seen[: world // here.nodes])
    variables.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # indices as numbered by the driver
    if offline:
        variables.setdefault("HF_HUB_OFFLINE", "1")
    stop = events.with_name("train") / "stop"
    stop.unlink(missing_ok=True)
    variables["TUNEBOOK_STOP"] = str(stop)
    events.touch()
    position = events.stat().st_size
    start = log.stat().st_size if log.exists() else 0
    with (
        running(command, variables, log) as (child, output),
        _Watch(child, stop, log, output, session, console) as watch,
        console.progress() as bars,
        events.open("rb") as file,
    ):
        file.seek(position)
        lines = Lines(file)
        while True:
            ended = child.poll() is not None
            for line in lines.more():
                event = json.loads(line)
                bars.show(event)
                watch.saw(event)
            if ended:
                break
            watch.look()
            time.sleep(0.2)
    if child.returncode and watch.stopping is not None:
        if watch.spent and session:
            raise MachineError(session.limit_message(), code="run.time_limit")
        if watch.by_hand:
            kept = (
                f"a checkpoint of step {watch.step} is saved" if watch.step else "no checkpoint is saved yet"
            )
            raise InterruptedByHandError(
                f"Interrupted: {kept}. Rerun the same command to resume.", code="run.interrupted"
            )
        raise StoppedError(
            "Stopped. Rerun the same command to resume from the last saved state.", code="run.stopped"
        )
    if watch.hung:
        raise ChildError(
            f"no progress and no output for {watch.quiet:.0f} s, so it was stopped; the Python stacks of its "
            "processes are at the end of the log"
        )
    if child.returncode:
        raise_if_full(last_error(log, start) or "", log)
        raise ChildError(last_error(log, start) or f"it {describe(child.returncode)}")


def _torchrun(nodes: int, head: str | None) -> list[str]:
    """Return the command that starts torchrun here, or on every node of a Slurm job."""
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    if nodes == 1:
        return [*torchrun, "--standalone"]
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    rendezvous = f"--rdzv-endpoint={head}:{PORT}"
    return [*srun, *torchrun, f"--nnodes={nodes}", "--rdzv-backend=c10d", rendezvous]


class _Watch:
    """Stops the child on SIGTERM, on Ctrl-C, at the session's time limit, and after a long silence.

    The file `stop` stops a training, which checks for the file after each step."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        stop: Path,
        log: Path,
        output: BinaryIO,
        session: Session | None,
        console: Console,
    ) -> None:
        self.child, self.stop, self.log, self.output = child, stop, log, output
        self.session, self.console = session, console
        self.notice = session.notice if session else 0.0
        self.quiet = session.quiet if session else None
        self.stopping: float | None = None
        self.training = self.spent = self.hung = self.by_hand = self.told = False
        self.step: int | None = None  # step of the newest checkpoint
        self.size, self.heard = 0, time.monotonic()

    def saw(self, event: dict[str, Any]) -> None:
        self.training = event["stage"] == "train"
        self.heard = time.monotonic()
        if "saved" in event:
            self.step = event["saved"]
            if self.session:
                self.session.saved()

    def look(self) -> None:
        """Act on whatever has happened since the last call."""
        now, size = time.monotonic(), self.log.stat().st_size
        if size != self.size:
            self.size, self.heard = size, now
        if self.by_hand and not self.told:
            self.told = True
            self.console.note(
                "Ctrl-C: saving a checkpoint after this step; press Ctrl-C again to stop at once"
            )
        if self.stopping is None and self.session and self.session.spent():
            self.spent = True
            self.request_stop()
        if self.stopping is not None and not (self.training and now < self.stopping + self.notice):
            self.child.kill()  # files are replaced atomically, so nothing is left damaged
        if self.quiet and now > self.heard + self.quiet:
            self.hung = True
            dump_stacks(self.child.pid, self.output)
            self.child.kill()

    def request_stop(self, *_: Any) -> None:
        if self.stopping is None:
            self.stopping = time.monotonic()
            self.stop.parent.mkdir(exist_ok=True)
            self.stop.touch()

    def interrupt(self, *_: Any) -> None:
        """Handle Ctrl-C: unlike on SIGTERM, the machine stays, so even a long step may end before the state
        is saved."""
        if not self.training or self.by_hand:
            raise KeyboardInterrupt
        self.by_hand, self.notice = True, float("inf")
        self.request_stop()

    def __enter__(self) -> _Watch:
        self.before = signal.signal(signal.SIGTERM, self.request_stop)
        self.before_hand = signal.getsignal(signal.SIGINT)
        if self.before_hand is signal.default_int_handler:  # Ctrl-C is ignored in the background
            signal.signal(signal.SIGINT, self.interrupt)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self.before)
        signal.signal(signal.SIGINT, self.before_hand)
