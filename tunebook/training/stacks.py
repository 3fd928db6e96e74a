"""The Python stacks of hanging processes, written to their log before the processes are ended."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import BinaryIO

import psutil

SHOWN = 160  # characters of a command line that are shown
PATIENCE = 3.0  # seconds that each process gets for writing its stacks


def dump_stacks(pid: int, output: BinaryIO) -> None:
    """Make process `pid` and its descendants on this machine write their Python stacks and end. `output`
    is their standard error, which goes to their log; it is told whose stacks follow.

    They run with PYTHONFAULTHANDLER (`paths.child_environment`), so SIGABRT prints the stacks of all threads
    to standard error, whatever the process is waiting for. All are stopped (SIGSTOP) first and
    continued one by one, children before parents, so that none reacts to the end of another and their lines
    do not mix.
    """
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]  # parents come before their children
    except psutil.NoSuchProcess:
        return
    for process in family:
        with suppress(psutil.Error):
            process.suspend()
    for process in reversed(family):
        with suppress(psutil.Error):
            rank = process.environ().get("RANK")
            place = f"process {process.pid}" + (f" of rank {rank}" if rank else "")
            command = " ".join(" ".join(process.cmdline()).split())[:SHOWN]
            output.write(f"\nstacks of {place}: {command}\n".encode())
            process.send_signal(signal.SIGABRT)
            process.resume()
            _wait(process)


def _wait(process: psutil.Process) -> None:
    # psutil's own wait would reap a child whose exit code the process that started it still needs.
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
