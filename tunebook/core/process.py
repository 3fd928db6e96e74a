"""Child processes: starting and ending them, reading errors from their log, and writing a folder whole."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
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
from typing import Any, BinaryIO

import psutil

from tunebook.core.files import seal
from tunebook.core.logs import masked, open_log
from tunebook.core.paths import ROOT, child_environment
from tunebook.core.secrets import Masker
from tunebook.core.system_errors import raise_if_full

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE = 10.0  # seconds that a program has to end when it is told to
LIBC = ctypes.CDLL(None)  # opened here, since a fork of a process with threads must not load libraries


class ChildError(Exception):
    """A child process failed; the text is the last error in its log."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` leaves no orphan that would
    write into the files of the next attempt. Every forked process has to call it."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def collect_rarely() -> None:
    """Let Python look for circular garbage after 50,000 new objects instead of 700. What torch, transformers
    and Axolotl create when they are imported all stays: to look through it again and again takes a quarter of
    the time of the import. Rows that are read stay, too. Nor is garbage looked for when the process ends,
    which takes two seconds after Axolotl was imported."""
    gc.set_threshold(50_000, 50, 50)
    atexit.register(gc.freeze)


def begin_worker() -> None:
    """Run first in a module that is a child's program: it dies with its parent, and so does all that it or a
    library in it forks, as the pools of `datasets`."""
    collect_rarely()
    die_with_parent()
    os.register_at_fork(after_in_child=die_with_parent)


def beginning() -> Callable[[], None]:
    """Return what a child of this process runs before its program: die with the parent, and write no core
    file where it is aborted, which would be as large as its memory."""
    parent = os.getpid()

    def begin() -> None:
        die_with_parent()
        if os.getppid() != parent:  # it died before it could be asked for
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    return begin


def run_command(words: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as `subprocess.run` does; it dies with this process."""
    return subprocess.run(words, preexec_fn=beginning(), **options)


@contextlib.contextmanager
def running(
    command: list[str], variables: dict[str, str], log: Path, **streams: Any
) -> Iterator[tuple[subprocess.Popen[Any], BinaryIO]]:
    """Run `command` in the checkout for as long as the block lasts; yields it and the file of its output,
    which is appended to `log` without secrets. It has no input; `streams` are arguments of Popen that say
    otherwise.

    The process dies with this one, and on Ctrl-C it is up to this process to stop it. What it started in its
    group ends with the block. Its temporary files are removed afterwards: libraries leave theirs behind in a
    process that is killed or forked.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tunebook-", ignore_cleanup_errors=True) as scratch,
        masked(log) as output,
    ):
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables | {"TMPDIR": scratch},
            preexec_fn=beginning(),
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **streams},
        )
        try:
            yield child, output
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all of them have ended
                os.killpg(child.pid, signal.SIGKILL)
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
    sealed: bool = False,
) -> None:
    """Let `python -m module WORDS FOLDER` write a folder, and move it to `target`, replacing what is there,
    once it is complete. Its output is appended to `log`, and each line is passed to `heard`. Callers hold a
    lock, so that only one process does this at a time. `sealed`: with the list of its files, by which
    `damage` (tunebook/core/files.py) finds out whether they are whole.

    Raises:
        ChildError: the process failed; `target` is unchanged.
        OSError: the disk is full; `target` is unchanged and no partial files are left.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    output: deque[str] = deque(maxlen=50)
    command = [sys.executable, "-m", module, *words, str(partial)]
    variables = child_environment() | {"PYTHONUNBUFFERED": "1"}
    log = log or Path(os.devnull)
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    with running(command, variables, log, **piped) as (child, _), open_log(log) as file:
        assert child.stdout
        for line in map(Masker(), child.stdout):
            with contextlib.suppress(OSError):  # the child process explains a full disk itself
                file.write(line.encode())
            heard(line)
            if line.strip():
                output.append(line.strip())
        child.wait()
    if child.returncode:
        try:
            raise_if_full("\n".join(output), target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        raise ChildError(
            output[-1] if output and child.returncode > 0 else f"it {describe(child.returncode)}"
        )
    if sealed:
        seal(partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


def last_error(log: Path, start: int) -> str | None:
    """Return the last line written since `start` that looks like an exception. If torchrun lost a process
    that logged none, return which process it was and how it ended."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.decode("utf-8", "replace") for line in deque(file, maxlen=600)]
    errors = [
        line.strip()
        for line in lines
        if re.match(r"^(\[rank\d+\]: ?)?(\w+\.)*\w*(Error|Exception|Interrupt)\b", line)
        and not re.search("ChildFailedError|SignalException", line)
    ]
    # The lost process is the cause, not the lost connections of the others.
    errors.sort(key=lambda line: line.startswith("ChildProcessError"))
    if errors:
        return errors[-1]
    # the other processes, stopped afterwards, are listed as well
    cause = "".join(lines).rpartition("Root Cause")[2]
    lost = re.search(r"rank\s*: (\d+) \(local_rank: \d+\)\n\s*exitcode\s*: (-?\d+)", cause)
    return f"process {lost[1]} {describe(int(lost[2]))}" if lost else None


def together(words: list[str]) -> list[str]:
    """Return the command that runs `words`, a program that starts others, as a build or a server: all of
    them end with it, and it ends with its parent, which a program of other people's does not do. It runs in
    the checkout."""
    return [sys.executable, "-m", __name__, *words]


def keep_together(words: list[str]) -> int:
    """Run `words`; on SIGTERM, also the one that says that the parent died, end all that it started."""

    def told(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, told)
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)  # those whose own parent has ended stay findable
    # Files stay open for it: a lock that compilers hold (tunebook/models/llama_cpp.py) is one.
    child = psutil.Popen(words, close_fds=False, preexec_fn=beginning())
    try:
        code: int = child.wait()
    finally:
        family = psutil.Process().children(recursive=True)
        for signal_number, seconds in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal_number)
            family = psutil.wait_procs(family, seconds)[1]
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(keep_together(sys.argv[1:]))
