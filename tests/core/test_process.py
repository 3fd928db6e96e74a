"""Children end with their parent, whatever ended it; a program's own children end with it."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tunebook.core.paths import ROOT
from tunebook.core.process import run_command, together

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")

# Each is the code of a parent, whose children name themselves by writing their pid to FOLDER/NAME.
START = """
import os, subprocess, sys, time
from pathlib import Path
from tunebook.core.process import *
folder = Path(sys.argv[1])
CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
FAMILY = "(sleep 600 & echo $! >$1/second; echo $$ >$1/first; wait)"
WORKER = '''
import multiprocessing, os, sys, time
from pathlib import Path
from tunebook.core.process import begin_worker, run_command
folder = Path(sys.argv[1])
def note(name):
    (folder / name).write_text(str(os.getpid()))
    time.sleep(600)
if __name__ == "__main__":
    begin_worker()
    (folder / "first").write_text(str(os.getpid()))
    multiprocessing.get_context("fork").Pool(1).map(note, ["second"])
'''
"""
PARENTS = {
    "running": (
        "with running([sys.executable, '-c', CHILD, f'{folder}/first'], dict(os.environ), folder / 'log'):"
        "    time.sleep(600)",
        ("first",),
    ),
    "a worker with a pool": (
        "with running([sys.executable, '-c', WORKER, str(folder)], dict(os.environ), folder / 'log'):"
        "    time.sleep(600)",
        ("first", "second"),
    ),
    "a command": ("run_command([sys.executable, '-c', CHILD, str(folder / 'first')])", ("first",)),
    "a program of other people's": (
        "run_command(together(['sh', '-c', FAMILY, 'sh', str(folder)]), cwd=ROOT)",
        ("first", "second"),
    ),
    "check": (
        "from tunebook.check.axolotl import Axolotl\n"
        "made = Axolotl({})\n"
        "(folder / 'first').write_text(str(made._child.pid))\n"
        "time.sleep(600)",
        ("first",),
    ),
}


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether `what` became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids(folder: Path, names: tuple[str, ...]) -> list[int]:
    """Return the process ids in the files `names`, once all are there."""
    files = [folder / name for name in names]
    assert wait_for(lambda: all(file.is_file() and file.read_text().strip() for file in files))
    return [int(file.read_text()) for file in files]


@pytest.mark.slow
@linux
@pytest.mark.parametrize("kind", PARENTS)
def test_kill_9_of_the_parent_leaves_no_child(kind: str, tmp_path: Path) -> None:
    code, names = PARENTS[kind]
    parent = subprocess.Popen([sys.executable, "-c", START + code, str(tmp_path)], cwd=ROOT)
    try:
        children = pids(tmp_path, names)
        assert not any(map(ended, children))
    finally:
        parent.kill()
        parent.wait()
    assert wait_for(lambda: all(map(ended, children)), 30), [psutil.Process(pid) for pid in children]


@pytest.mark.slow
@linux
def test_a_program_that_is_told_to_end_takes_its_own_along(tmp_path: Path) -> None:
    code = "trap '' TERM; (sleep 600 & echo $! >$1/second; echo $$ >$1/first; wait)"
    child = subprocess.Popen(together(["sh", "-c", code, "sh", str(tmp_path)]), cwd=ROOT)
    members = pids(tmp_path, ("first", "second"))
    child.terminate()
    assert child.wait(60) == 128 + signal.SIGTERM
    assert wait_for(lambda: all(map(ended, members)), 30)


@pytest.mark.slow
def test_a_program_kept_together_ends_as_it_ended() -> None:
    for code, number in (("exit 7", 7), ("kill -9 $$", -9), ("true", 0)):
        assert run_command(together(["sh", "-c", code]), cwd=ROOT).returncode == number


@pytest.mark.slow
def test_every_child_is_started_so_that_it_ends_with_us() -> None:
    """Nobody starts a process without the function that asks for that (core/process.py)."""
    careless = []
    for path in (ROOT / "tunebook").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = ast.unparse(node.func)
                starts = name in ("subprocess.Popen", "psutil.Popen", "os.system", "os.popen")
                starts = starts or (
                    name.startswith("subprocess.") and name.endswith(("run", "call", "output"))
                )
                if starts and not [word for word in node.keywords if word.arg == "preexec_fn"]:
                    careless.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert careless == []
