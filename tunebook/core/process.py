"""Child processes: how they begin and end, what they leave in their log, and writing a folder in one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunebook.core.paths import ROOT, child_environment
from tunebook.core.system_errors import raise_if_full

PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A child ended with an error; the text is what its log says about it."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` leaves no orphan that
    would write into the next try's files. Each fork has to do so for itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def begin_child() -> None:
    """Run in a child before its program: die with the parent, and write no core file where it is aborted,
    which would be as large as its memory."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def running(
    command: list[str], variables: dict[str, str], log: Path, piped: bool = False
) -> Iterator[subprocess.Popen[Any]]:
    """Run `command` for as long as the block lasts, in the checkout. Its output is appended to `log`; with
    `piped`, input and output are text pipes, and only its errors are logged.

    It dies with this process, and Ctrl-C in the terminal is this process's to pass on. Its temporary files
    go with it: a process that is killed, or forked, leaves those of its libraries behind.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tunebook-", ignore_cleanup_errors=True) as scratch,
        log.open("ab") as output,
    ):
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables | {"TMPDIR": scratch},
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            encoding="utf-8" if piped else None,
            preexec_fn=begin_child,
            start_new_session=True,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def describe(code: int) -> str:
    """Return how a process with this exit code (negative: a signal) ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def write_folder(
    module: str,
    words: list[str],
    target: Path,
    log: Path | None = None,
    heard: Callable[[str], None] = lambda line: None,
) -> None:
    """Let `python -m module WORDS FOLDER` write a folder, and move it to `target` once it is whole, in place
    of what is there. Its output goes to `log`, and each line of it to `heard`. Callers hold a lock, so that
    one process does it at a time.

    Raises:
        ChildError: it failed; `target` is as before.
        OSError: the disk is full; `target` is as before, and nothing of the try is left.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    said: deque[str] = deque(maxlen=50)
    with (
        subprocess.Popen(
            [sys.executable, "-m", module, *words, str(partial)],
            cwd=ROOT,
            env=child_environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=begin_child,
        ) as child,
        open(log or os.devnull, "ab", buffering=0) as file,
    ):
        assert child.stdout
        for line in child.stdout:
            with contextlib.suppress(OSError):  # a full disk is the child's to explain
                file.write(line.encode())
            heard(line)
            if line.strip():
                said.append(line.strip())
    if child.returncode:
        try:
            raise_if_full("\n".join(said), target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        raise ChildError(said[-1] if said and child.returncode > 0 else f"it {describe(child.returncode)}")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


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
    lost = re.search(r"rank\s*: (\d+) \(local_rank: \d+\)\n\s*exitcode\s*: (-?\d+)", cause)
    return f"process {lost[1]} {describe(int(lost[2]))}" if lost else None
