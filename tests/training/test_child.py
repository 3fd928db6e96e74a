"""Starting scripts in one process or several, and what is said about how they end."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunebook.core.console import Console
from tunebook.core.errors import MachineError, StoppedError
from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.core.process import ChildError, describe, write_folder
from tunebook.runs.run import Run
from tunebook.runs.session import Session
from tunebook.training.child import _Watch, follow
from tunebook.training.launch import note_usage

# One write per line: two processes share the output, and print() writes each of its parts.
RANKS = (
    "import os, signal, sys, time\nrank, world = int(os.environ['RANK']), os.environ['WORLD_SIZE']\n"
    "os.write(1, f\"rank {rank} of {world} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n\".encode())\n"
)


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children find the module that `start` writes."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def start(folder: Path, code: str, world: int = 1, session: Session | None = None) -> str:
    """Follow a module of `code` and return its log."""
    (folder / "child_module.py").write_text(code)
    log = folder / "log.txt"
    follow("child_module", ["word"], Console(), log, folder / "events.jsonl", world, session=session)
    return log.read_text()


def test_words_environment_and_events_arrive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import json, os, sys\nprint(sys.argv[1:], os.environ['CUDA_VISIBLE_DEVICES'])\n"
    event = {"stage": "some", "done": 5, "total": 5}
    code += f"open(os.environ['TUNEBOOK_EVENTS'], 'a').write({json.dumps(event)!r} + chr(10))"
    assert start(tmp_path, code) == "['word'] 0\n"
    assert "some: 5 done" in capsys.readouterr().out


def test_an_event_that_is_being_written_is_read_once_it_is_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = json.dumps({"stage": "some", "job": "täglich", "done": 5, "total": 5}, ensure_ascii=False).encode()
    pieces = [line[: line.index(b"\xc3") + 1], line[line.index(b"\xc3") + 1 : -3], line[-3:] + b"\n"]
    code = "import os, time\nfile = open(os.environ['TUNEBOOK_EVENTS'], 'ab', buffering=0)\n"
    code += f"for piece in {pieces!r}:\n    file.write(piece)\n    time.sleep(0.5)\n"
    start(tmp_path, code)
    assert "täglich: 5 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("import os\nos.kill(os.getpid(), 9)", r"killed by SIGKILL \(out of memory\?\)"),
        ("raise SystemExit(7)", "ended with exit code 7"),
    ],
)
def test_a_failed_child_is_explained(code: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("ValueError: of an earlier try\n")
    with pytest.raises(ChildError, match=said):
        start(tmp_path, code)


EVENT = """
import json, os, pathlib, time
def event(stage, **more):
    with open(os.environ["TUNEBOOK_EVENTS"], "a") as file:
        file.write(json.dumps({"stage": stage, "done": 1, "total": 9, **more}) + chr(10))
"""
ENDLESS = f"{EVENT}event('some')\ntime.sleep(300)"
STOPPABLE = f"""{EVENT}
event("train")
while not pathlib.Path(os.environ["TUNEBOOK_STOP"]).exists():
    time.sleep(0.05)
time.sleep(0.5)
event("train", saved=1)
raise SystemExit(75)
"""


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Send signals to this process: the first once an event of the child has been seen, the next once the
    child is asked to stop. The file `sent` says that all are."""
    seen, saw = threading.Event(), _Watch.saw

    def note(self: _Watch, event: dict[str, Any]) -> None:
        saw(self, event)
        seen.set()

    def go(signals: tuple[int, ...]) -> None:
        seen.wait(60)
        for number, one in enumerate(signals):
            while number and not (tmp_path / "train" / "stop").exists():
                time.sleep(0.02)
            os.kill(os.getpid(), one)
        (tmp_path / "sent").touch()

    monkeypatch.setattr(_Watch, "saw", note)
    return lambda *signals: threading.Thread(target=go, args=(signals,), daemon=True).start()


def test_sigterm_stops_the_child(tmp_path: Path, send: Callable[..., None]) -> None:
    send(signal.SIGTERM)
    before = time.monotonic()
    with pytest.raises(StoppedError) as caught:
        start(tmp_path, ENDLESS)
    assert caught.value.exit_code == 75
    assert time.monotonic() - before < 60


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """A shell that starts pytest in the background leaves Ctrl-C ignored, and so would the code here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kept(folder: Path) -> Session:
    (folder / "run").mkdir()
    return Session(Run(folder / "run"), None, print)


@pytest.mark.slow
def test_a_training_has_the_notice_time_to_save(
    tmp_path: Path, send: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = kept(tmp_path)
    saved: list[bool] = []
    monkeypatch.setattr(session, "saved", lambda: saved.append(True))
    send(signal.SIGTERM)
    with pytest.raises(StoppedError):
        start(tmp_path, STOPPABLE, session=session)
    assert saved == [True]


@pytest.mark.slow
def test_ctrl_c_lets_a_training_save_and_says_how_to_resume(
    tmp_path: Path, send: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    send(signal.SIGINT)
    with pytest.raises(StoppedError) as caught:
        start(tmp_path, STOPPABLE)
    assert (caught.value.exit_code, caught.value.code) == (130, "run.interrupted")
    assert "step 1 is saved" in str(caught.value) and "same command" in str(caught.value)
    assert "press Ctrl-C again" in capsys.readouterr().out


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path, send: Callable[..., None]) -> None:
    before = signal.getsignal(signal.SIGINT)
    send(signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, STOPPABLE.replace("time.sleep(0.5)", "time.sleep(300)"))
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_outside_of_a_training_ends_it_at_once(tmp_path: Path, send: Callable[..., None]) -> None:
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, ENDLESS)


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path: Path, send: Callable[..., None]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        send(signal.SIGINT)
        wait = f"while not pathlib.Path({str(tmp_path / 'sent')!r}).exists():\n    time.sleep(0.02)\n"
        assert start(tmp_path, f"{EVENT}event('train')\n{wait}print('done')") == "done\n"
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_the_hours_that_are_allowed_end_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = kept(tmp_path)
    monkeypatch.setenv("TUNEBOOK_MAX_HOURS", str(0.5 / 3600))
    session.begin()
    with pytest.raises(MachineError, match="Time limit reached .TUNEBOOK_MAX_HOURS=") as caught:
        start(tmp_path, STOPPABLE, session=session)
    assert caught.value.exit_code == 4, "a scheduler that starts exit code 75 again must not start this"


@pytest.mark.slow
def test_a_silent_child_is_stopped_and_leaves_its_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_QUIET", "1.5")
    code = "import time\ndef wait_for_nothing():\n    time.sleep(60)\nwait_for_nothing()\n"
    with pytest.raises(ChildError, match="no progress and no output for 2 s.*at the end of the log"):
        start(tmp_path, code, session=kept(tmp_path))
    log = (tmp_path / "log.txt").read_text()
    assert log.index("stacks of process") < log.index("line 3 in wait_for_nothing")


@pytest.mark.slow
def test_output_is_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_QUIET", "2")
    code = "import time\nfor _ in range(6):\n    print('.', flush=True)\n    time.sleep(0.5)"
    assert start(tmp_path, code, session=kept(tmp_path)).count(".") == 6


def test_temporary_files_go_with_a_child_and_its_forks(tmp_path: Path) -> None:
    """What is killed, or leaves by os._exit as a fork of Axolotl does, removes nothing itself."""
    code = "import os, tempfile\nprint(tempfile.gettempdir(), flush=True)\ntempfile.mkdtemp()\n"
    with pytest.raises(ChildError):
        start(
            tmp_path,
            f"{code}if os.fork() == 0:\n    tempfile.mkdtemp()\n    os._exit(0)\nos.wait()\nos.abort()",
        )
    (folder,) = (tmp_path / "log.txt").read_text().split()[:1]
    assert Path(folder).name.startswith("tunebook-") and not Path(folder).exists()


@pytest.mark.slow
def test_nodes_meet_through_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for srun starts the command twice, as two nodes would."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(
        '#!/bin/bash\nwhile [ "${1#--}" != "$1" ]; do echo "srun $1"; shift; done\n'
        '"$@" & first=$!; "$@"; second=$?; wait $first && exit $second\n'
    )
    srun.chmod(0o755)
    for name, value in (("PATH", f"{srun.parent}:{os.environ['PATH']}"), ("TUNEBOOK_NODES", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TUNEBOOK_HEAD", "localhost")
    said = start(tmp_path, RANKS, world=2)
    assert "srun --nodes=2" in said and "rank 0 of 2" in said and "rank 1 of 2" in said


@pytest.mark.parametrize("signal_number", [9, 15])
def test_signals_are_named(signal_number: int) -> None:
    assert signal.Signals(signal_number).name in describe(-signal_number)


WRITER = """
import pathlib, sys
text, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir()
(folder / "text").write_text(text)
print("written")
if text == "bad":
    raise OSError("no room for it")
if text == "lost":
    import os
    os.abort()
"""


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder_writer.py").write_text(WRITER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    target, log = tmp_path / "made", tmp_path / "log.txt"
    write_folder("folder_writer", ["one"], target, log)
    write_folder("folder_writer", ["two"], target, log)
    assert (target / "text").read_text() == "two"
    for words, said in (("bad", "OSError: no room for it"), ("lost", "it was killed by SIGABRT")):
        with pytest.raises(ChildError, match=said):
            write_folder("folder_writer", [words], target, log)
        assert (target / "text").read_text() == "two"
    write_folder("folder_writer", ["three"], target)
    assert (target / "text").read_text() == "three", "what the failed ones left is not in the way"
    assert log.read_text().startswith("written\nwritten\n")
    assert "no room for it" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "said"),
    [("os.kill(os.getpid(), 9)", "process 1 was killed by SIGKILL"), ("raise ValueError('boom')", "boom")],
)
def test_processes_know_their_ranks_and_a_lost_one_ends_the_others(
    end: str, said: str, tmp_path: Path
) -> None:
    wait = f"while rank and 'rank 0' not in open({str(tmp_path / 'log.txt')!r}).read(): time.sleep(0.02)"
    before = time.monotonic()
    with pytest.raises(ChildError, match=said):
        start(tmp_path, f"{RANKS}{wait}\nif rank == 1: {end}\ntime.sleep(600)", world=2)
    assert time.monotonic() - before < 60
    log = (tmp_path / "log.txt").read_text()
    assert "rank 0 of 2 0,1" in log and "rank 1 of 2 0,1" in log


@pytest.fixture
def worker() -> Any:
    """tunebook/pipeline/worker.py as a module."""
    return importlib.import_module("tunebook.pipeline.worker")


def test_a_failed_training_is_not_done(worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "train", lambda run: 1)
    monkeypatch.setattr(worker, "begin_worker", lambda: None)
    with pytest.raises(SystemExit):
        worker.main([str(tmp_path), "--train"])
    assert Run(tmp_path).state()["stages"]["train"]["status"] == "running"


def test_peaks_are_those_of_all_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained in one process and evaluated in a later one, a run's peak is the higher of both."""
    run = Run(tmp_path)
    for peaks in ({"train_gib": 4.0, "evaluate_gib": 0.5}, {"train_gib": 0.0, "evaluate_gib": 1.5}):
        monkeypatch.setattr("tunebook.training.launch.usage", lambda peaks=peaks: peaks)
        note_usage(run)
    assert read_json(run / "eval" / "usage.json") == {"train_gib": 4.0, "evaluate_gib": 1.5}


@pytest.mark.parametrize("code", [0, 1, -9])
def test_with_a_gpu_axolotl_is_no_fork(
    code: int,
    worker: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Axolotl's imports touch the GPU, and a fork of a process that has done so cannot use it."""
    started = []

    def start(words: list[str], **_: Any) -> Any:
        started.append(words)
        return SimpleNamespace(returncode=code)

    cuda = SimpleNamespace(is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # the real one is slow to import
    monkeypatch.setattr(worker, "run_command", start)
    monkeypatch.setattr(worker.os, "fork", lambda: pytest.fail("forked"))
    assert worker.train(tmp_path) == code
    assert started == [[sys.executable, "-m", "axolotl.cli.train", str(tmp_path / "config.yaml")]]
    assert ("killed by SIGKILL" in capsys.readouterr().err) == (code == -9)
