"""The Python stacks of hanging processes, written to their log before the processes are ended."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

SHOWN = 160  # characters of a command line that are shown
PATIENCE = 3.0  # seconds that each process gets for writing its stacks


def dump_stacks(pid: int, log: Path) -> None:
    """Make process `pid` and its descendants on this machine write their Python stacks to `log` and end.

    They run with PYTHONFAULTHANDLER (`paths.child_environment`), so SIGABRT prints the stacks of all threads
    to standard error, here the log, whatever the process is waiting for. All are stopped (SIGSTOP) first and
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
            with log.open("a", encoding="utf-8") as file:
                file.write(f"\nstacks of {place}: {' '.join(' '.join(process.cmdline()).split())[:SHOWN]}\n")
            process.send_signal(signal.SIGABRT)
            process.resume()
            _wait(process)


def _wait(process: psutil.Process) -> None:
    # psutil's own wait would reap a child whose exit code the process that started it still needs.
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
