"""Sessions of a run over several machines: counted, priced, limited, stopped, kept."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.runs.test_store import at_work, machine
from tunebook.core.errors import MachineError, StoppedError
from tunebook.core.files import read_json, write_json
from tunebook.runs import storage
from tunebook.runs.events import interruptions
from tunebook.runs.progress import progress
from tunebook.runs.run import Run
from tunebook.runs.session import Session
from tunebook.runs.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return machine(tmp_path)


def ends(run: Run) -> list[str | None]:
    return [entry.get("end") for entry in read_json(run / "sessions.json")]


def test_every_way_to_end_is_told_apart(run: Run) -> None:
    with Session(run, None, print) as session:
        session.begin()
    with pytest.raises(StoppedError), Session(run, None, print) as session:
        session.begin()
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    with pytest.raises(ValueError), Session(run, None, print) as session:
        session.begin()
        raise ValueError
    with Session(run, None, print) as session:
        session.begin()
        assert ends(run) == ["finished", "stopped", "failed", None]
        session.begun = None  # as kill -9 leaves it: no end is noted
    with Session(run, None, print) as session:
        session.begin()
    found = interruptions(run)
    assert found and (found["sessions"], found["stopped"], found["killed"], found["failed"]) == (5, 1, 1, 1)
    assert found["dollars"] is None


def test_looking_at_a_run_is_no_session(run: Run) -> None:
    with Session(run, None, print):
        pass
    assert not (run / "sessions.json").exists()


def test_a_store_that_refuses_is_found_before_training(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(MachineError, match="^STORE: "),
        Session(run, str(tmp_path / "store"), print) as session,
    ):
        session.begin()
        pytest.fail("went on")
    assert signal.getsignal(signal.SIGTERM) == before


def test_stopped_on_one_machine_and_gone_on_with_on_another(tmp_path: Path) -> None:
    store, notes = str(tmp_path / "store"), []
    here, there = at_work(machine(tmp_path)), machine(tmp_path, "there")
    with pytest.raises(StoppedError), Session(here, store, notes.append) as session:
        session.begin()
        raise StoppedError("as after SIGTERM")
    assert notes[-1] == "store: saved as state 2"
    with Session(there, store, notes.append) as session:
        assert "checkpoint of step 5" in notes[-1]
        assert (there / "train" / "checkpoint-5").is_dir()
        session.begin()
    assert ends(there) == ["stopped", "finished"]


def test_an_unreachable_store_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run's results would be here only, an error; a stopped one goes on from the older state."""
    monkeypatch.setattr(storage, "PAUSES", ())
    run, notes = at_work(machine(tmp_path)), []

    def gone(name: str, content: bytes) -> None:
        raise MachineError("STORE: gone")

    with pytest.raises(StoppedError), Session(run, str(tmp_path / "store"), notes.append) as session:
        session.begin()
        assert session.store
        monkeypatch.setattr(session.store.storage, "write", gone)
        raise StoppedError("as after SIGTERM")
    assert notes[-1] == "the store only has state 1 (step 5): STORE: gone"
    with (
        pytest.raises(MachineError, match="gone"),
        Session(run, str(tmp_path / "store"), notes.append) as session,
    ):
        session.begin()
        assert session.store
        monkeypatch.setattr(session.store.storage, "write", gone)
        run.mark("report", "done")
    with Session(run, str(tmp_path / "store"), notes.append):
        pass  # the same command again, which finds the run finished
    there = machine(tmp_path, "there")
    assert Store(str(tmp_path / "store"), there).fetch(print) and there.done("report")


def test_checkpoints_are_saved_while_the_work_goes_on(tmp_path: Path) -> None:
    run = at_work(machine(tmp_path))
    with Session(run, str(tmp_path / "store"), print) as session:
        session.begin()
        assert session.saver and session.store
        (run / "events.jsonl").write_text("more\n")
        session.saved()
        for _ in range(200):
            if session.store.number == 2:
                break
            session.saver.join(0.05)
        assert session.store.number == 2


def test_hours_of_all_sessions_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_MAX_HOURS", "2")
    write_json(run / "sessions.json", [{"seconds": 3600.0, "end": "stopped"}, {"seconds": 3500.0}])
    session = Session(run, None, print)
    session.begin()
    assert not session.spent()
    monkeypatch.setattr("tunebook.runs.session.time.monotonic", lambda: (session.begun or 0) + 101)
    assert session.spent()


def test_a_spent_run_does_not_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_MAX_HOURS", "1")
    write_json(run / "sessions.json", [{"seconds": 3601.0, "end": "stopped"}])
    with pytest.raises(MachineError, match="Time limit reached .TUNEBOOK_MAX_HOURS=1.00"):
        Session(run, None, print).begin()


def test_cost_and_repeated_steps(run: Run) -> None:
    sessions = [{"seconds": 3600.0, "dollars_per_hour": 2.0}, {"seconds": 1800.0, "dollars_per_hour": 4.0}]
    write_json(run / "sessions.json", sessions)
    train = [0, 1, 2, 3, 4, 2, 3, 4, 5]
    events = [{"stage": "train", "done": done, "total": 5, "time": float(i)} for i, done in enumerate(train)]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"cut')
    found = interruptions(run)
    assert found and found["dollars"] == 4.0 and found["steps_repeated"] == 2 and found["killed"] == 1


def test_progress_is_read_from_the_files(run: Run) -> None:
    assert progress(run) == "nothing trained yet"
    events = [
        {"stage": "train", "done": done, "total": 100, "time": 60.0 * done, "loss": 2.0 - done / 100}
        for done in range(11)
    ]
    events[-1]["tokens_per_second"] = 1234.0
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    write_json(run / "sessions.json", [{"seconds": 1800.0, "dollars_per_hour": 3.0}])
    assert progress(run) == (
        "train 10 of 100, loss 1.900, 1234 tokens/s per GPU, about 90 minutes left in this stage, "
        "1 sessions, 0.50 hours, $1.50 so far"
    )
    run.mark("report", "done")
    assert progress(run).startswith("finished, ")
