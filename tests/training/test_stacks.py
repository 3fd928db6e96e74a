"""What hung processes were doing, seen in their log."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tunebook.training.stacks import dump_stacks

# A parent that waits for a fork and for a program of its own, as a training does.
FAMILY = """
import os, subprocess, sys, threading, time
code = "import pathlib, sys, time\\ndef in_program():\\n"
code += "    pathlib.Path(sys.argv[1]).touch()\\n    time.sleep(600)\\nin_program()"
def in_thread():
    time.sleep(600)
def in_fork():
    threading.Thread(target=in_thread, daemon=True).start()
    open(sys.argv[1] + "-fork", "w").close()
    time.sleep(600)
def in_parent(pid):
    os.waitpid(pid, 0)
program = subprocess.Popen([sys.executable, "-c", code, sys.argv[1] + "-program"])
pid = os.fork()
in_parent(pid) if pid else in_fork()
"""


def test_every_process_tells_where_it_is_one_after_the_other(tmp_path: Path) -> None:
    log, ready = tmp_path / "log.txt", tmp_path / "ready"
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "RANK": "3"}
    with log.open("a") as output:
        words = [sys.executable, "-c", FAMILY, str(ready)]
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    for name in ("ready-fork", "ready-program"):
        while not (tmp_path / name).exists():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    time.sleep(0.5)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    with log.open("ab", buffering=0) as output:
        dump_stacks(process.pid, output)
    assert process.wait(10) < 0
    for child in family:
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    parts = re.split(r"stacks of process \d+ of rank 3: ", log.read_text())[1:]
    assert len(parts) == 3
    stacks = [set(re.findall(r"line \d+ in (in_\w+)$", part, re.MULTILINE)) for part in parts]
    assert stacks[2] == {"in_parent"}, "parents after their children, which die with them"
    assert sorted(stacks[:2], key=len) == [{"in_program"}, {"in_fork", "in_thread"}]
    for part in parts:
        assert part.count("Fatal Python error: Aborted") == 1


def test_a_process_that_is_gone_already_is_nothing_to_worry_about() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    output = io.BytesIO()
    dump_stacks(process.pid, output)
    assert output.getvalue() == b""
