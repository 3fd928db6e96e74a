"""Start a script of scripts/ in one process or several, follow its progress, explain its end."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from tunebook.console import Console
from tunebook.errors import StoppedError
from tunebook.paths import ROOT, child_environment

PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A child ended with an error; the text is what its log says about it."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` leaves no orphan that
    would write beside the next try. Each fork has to ask for itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
) -> None:
    """Run scripts/`script` with `words` and show the progress it appends to `events`; its output goes
    to `log`. With `world` above 1, torchrun starts that many processes, one a GPU. `offline` keeps
    the Hub's client from asking the network.

    Raises:
        ChildError: it failed.
        StoppedError: SIGTERM arrived; the child was stopped, what it had saved is kept.
    """
    command = [sys.executable]
    if world > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    command += [str(ROOT / "scripts" / script), *words]
    environment = child_environment() | {"TUNEBOOK_EVENTS": str(events), "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # A single process that sees more than one card falls back to DataParallel.
    seen = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(world)))
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(seen.split(",")[:world])
    environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver numbers them
    if offline:
        environment.setdefault("HF_HUB_OFFLINE", "1")
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
            preexec_fn=die_with_parent,
        )
    with _Terminate(child) as terminate, console.progress() as bars, events.open(encoding="utf-8") as file:
        file.seek(position)
        while True:
            ended = child.poll() is not None
            for line in file.readlines():
                if line.endswith("\n"):
                    bars.show(json.loads(line))
            if ended:
                break
            time.sleep(0.2)
    if child.returncode and terminate.asked:
        raise StoppedError("Stopped. The same command goes on from what was saved last.")
    if child.returncode:
        raise ChildError(_last_error(log, start) or f"it {describe(child.returncode)}")


class _Terminate:
    """Pass SIGTERM on to the child, and stop it when the block is left early."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child, self.asked = child, False

    def _pass_on(self, *_: Any) -> None:
        self.asked = True
        self.child.terminate()

    def __enter__(self) -> _Terminate:
        self.before = signal.signal(signal.SIGTERM, self._pass_on)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self.before)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def _last_error(log: Path, start: int) -> str | None:
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
