"""A run folder survives kills, is held by one process, and is found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.runs.run import Run, find, pick, point_latest

WRITER = """
import sys
from pathlib import Path
from tunebook.runs.run import write_json
number = 0
while True:
    write_json(Path(sys.argv[1]), {"number": number, "filler": "x" * 300_000})
    number += 1
"""
HOLDER = """
import sys
from pathlib import Path
from tunebook.runs.run import Run
with Run(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python `code` beside the test, and kill it in the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def made(run: Run, finished: bool = False) -> Run:
    run.folder.mkdir(parents=True, exist_ok=True)
    run.mark("report" if finished else "train", "done")
    return run


# Files


def test_json_is_read_back_as_written(tmp_path: Path) -> None:
    value = {"text": "caf\u00e9", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_reading_a_missing_file_gives_what_was_asked_for(tmp_path: Path) -> None:
    assert read_json(tmp_path / "a.json", {"b": 1}) == {"b": 1}
    assert read_json(tmp_path / "a.json") is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert read_json(tmp_path / "a.json") == {"old": 1}


def test_a_reader_and_a_kill_never_meet_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    seen = set()
    with process(WRITER, str(path)) as writer:
        end = time.monotonic() + 20
        while len(seen) < 20 and time.monotonic() < end:
            if path.is_file():
                seen.add(json.loads(path.read_text())["number"])
        writer.kill()
        writer.wait()
    assert len(seen) == 20, "the writer was not fast enough to be a test"
    assert len(json.loads(path.read_text())["filler"]) == 300_000


# State


def test_a_fresh_run_has_done_nothing(run: Run) -> None:
    assert run.state() == {"stages": {}}
    assert not run.done("train")


def test_stages_are_marked_done_and_forgotten(run: Run) -> None:
    run.mark("train", "running")
    assert not run.done("train")
    run.mark("train", "done")
    run.mark("evaluate", "done")
    run.mark("report", "done")
    assert run.done("train") and run.done("evaluate")
    run.forget("evaluate", "report", "compare")
    assert [stage for stage in ("train", "evaluate", "report") if run.done(stage)] == ["train"]


def test_another_process_sees_the_state(run: Run) -> None:
    run.mark("train", "done")
    assert Run(run.folder).done("train")


def test_seconds_of_every_try_add_up(run: Run) -> None:
    run.mark("train", "running", 2.5)
    run.mark("train", "done", 1.5)
    assert run.state()["stages"]["train"]["seconds"] == 4.0


def test_marking_keeps_what_else_the_state_holds(run: Run) -> None:
    write_json(run / "state.json", {"stages": {}, "evaluation": "abc"})
    run.mark("train", "done")
    run.forget("train")
    assert run.state() == {"stages": {}, "evaluation": "abc"}


def test_a_stage_is_done_when_its_block_ends(run: Run) -> None:
    with run.stage("train"):
        assert run.state()["stages"]["train"]["status"] == "running"
        time.sleep(0.03)
    assert run.done("train")
    assert run.state()["stages"]["train"]["seconds"] >= 0.03


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_stage_that_fails_stays_running(error: type[BaseException], run: Run) -> None:
    with pytest.raises(error), run.stage("train"):
        time.sleep(0.03)
        raise error
    stage = run.state()["stages"]["train"]
    assert stage["status"] == "running"
    assert stage["seconds"] >= 0.03, "the time of a failed try counts"
    assert not run.done("train")


# Lock


def test_a_second_process_is_refused_and_told_who_holds_the_run(run: Run) -> None:
    with process(HOLDER, str(run.folder)) as holder:
        assert holder.stdout and holder.stdin
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MachineError, match=rf"in use by process {holder.pid} ") as caught, run.locked():
            pytest.fail("held twice")
        assert caught.value.exit_code == 4
        holder.stdin.close()
        assert holder.wait(20) == 0
        with run.locked():
            pass


def test_a_killed_holder_leaves_no_lock(run: Run) -> None:
    with process(HOLDER, str(run.folder)) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
        with run.locked():
            assert read_json(run / "holder.json")["pid"] == os.getpid()


def test_the_lock_makes_the_folder_and_is_given_back_after_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "b")
    with pytest.raises(ValueError), run.locked():
        raise ValueError
    with run.locked():
        assert run.folder.is_dir()
    assert not (run / "holder.json").exists()


# Choosing and finding


def test_pick_takes_the_run_of_that_id_and_makes_nothing(runs: Path) -> None:
    assert pick("some", "abc", new=False).folder == runs / "some" / "abc"
    assert not runs.exists()
    made(pick("some", "abc", new=False))
    made(pick("some", "xyz", new=False), finished=True)
    assert pick("some", "abc", new=False).folder == runs / "some" / "abc"
    assert pick("other", "abc", new=False).folder == runs / "other" / "abc"


def test_new_goes_on_with_an_unfinished_run_and_numbers_past_a_finished_one(runs: Path) -> None:
    assert made(pick("some", "abc", new=True)).folder.name == "abc"
    assert pick("some", "abc", new=True).folder.name == "abc", "not finished: the same again"
    made(Run(runs / "some" / "abc"), finished=True)
    for number in range(2, 12):
        folder = made(pick("some", "abc", new=True), finished=True).folder
        assert folder.name == f"abc-{number}"
    assert pick("some", "abc", new=False).folder.name == "abc-11", "the newest, by number and not by letter"


def test_find_takes_a_name_below_runs_or_a_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(pick("some", "abc", new=False))
    point_latest(run)
    assert find("some/abc").folder == run.folder
    assert find("some/latest").folder == run.folder
    assert find(str(run.folder)).folder == run.folder
    monkeypatch.chdir(runs / "some")
    assert find("abc").folder == run.folder


@pytest.mark.parametrize("text", ["", "some", "some/xyz", "some/latest", "/nowhere"])
def test_find_refuses_what_is_no_run(text: str, runs: Path) -> None:
    made(pick("some", "abc", new=False))
    with pytest.raises(InputError, match="^RUN: "):
        find(text)


def test_latest_is_a_relative_link_that_can_be_moved_on(runs: Path, tmp_path: Path) -> None:
    first, second = made(Run(runs / "some" / "abc")), made(Run(runs / "some" / "xyz"))
    point_latest(first)
    point_latest(second)
    point_latest(second)
    assert (runs / "some" / "latest").resolve() == second.folder
    assert sorted(path.name for path in (runs / "some").iterdir()) == ["abc", "latest", "xyz"]
    runs.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "some" / "latest" / "state.json").is_file()
