"""A rehearsal's folder is never taken for a run: RUN= refuses it, compare does not see it, little stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import in_process
from tunebook.core.errors import InputError
from tunebook.core.files import read_json
from tunebook.report.leaderboard import everything
from tunebook.runs import rehearsal
from tunebook.runs.run import Run, find


@pytest.fixture
def home(tmp_path: Path, handmade: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a rehearsal in the middle of its work, with all files of a finished run."""
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    folder = rehearsal.begin("some", "abc")
    finished = handmade("classification")
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
    for stage in ("train", "evaluate", "compare", "report"):
        Run(folder).mark(stage, "done", 1.0)
    for name in ("log.txt", "config.yaml", "data/train.jsonl", "model/weights", "report.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_one_that_was_killed_is_no_run(home: Path) -> None:
    assert (home / "state.json").is_file(), "as kill -9 leaves it"
    for text in ("some/rehearsal-abc", str(home)):
        with pytest.raises(InputError) as caught:
            find(text, "report")
        assert caught.value.code == "run.rehearsal"
    assert everything() == ([], [])


@pytest.mark.parametrize(
    "words", ["results R", "chat R", "predict R x.csv y.csv", "publish R --repo me/x", "compare R"]
)
def test_no_verb_takes_it_for_a_result(words: str, home: Path) -> None:
    given = words.replace("R", "some/rehearsal-abc").split()
    found = in_process(*given, TUNEBOOK_RUNS=str(home.parents[1]))
    assert found.returncode == 2 and "run.rehearsal" in found.stderr, found.stderr + found.stdout


def test_of_one_that_passed_its_log_and_what_it_showed_are_kept(home: Path) -> None:
    assert rehearsal.find_passed("some", "abc") is None, "it still runs"
    rehearsal.passed(home, 61.23, ["model: x"], ["bf16"], "$1")
    assert names(home) == {"rehearsal.json", "log.txt"}
    found = rehearsal.find_passed("some", "abc")
    assert found and found["exercised"] == ["model: x"] and found["seconds"] == 61.2
    assert rehearsal.find_passed("some", "other") is None
    with pytest.raises(InputError):
        find("some/rehearsal-abc")


def test_of_one_that_failed_its_rows_are_kept_but_no_model_and_no_score(home: Path) -> None:
    rehearsal.failed(home, "train failed")
    assert names(home) == {"rehearsal.json", "log.txt", "config.yaml", "data"}
    assert read_json(home / "rehearsal.json")["error"] == "train failed"
    assert rehearsal.find_passed("some", "abc") is None


def test_a_second_attempt_starts_from_nothing(home: Path) -> None:
    rehearsal.passed(home, 1.0, [], [], "")
    (home / "state.json").write_text("{}")
    assert rehearsal.begin("some", "abc") == home
    assert names(home) == {"rehearsal.json"}
    assert rehearsal.find_passed("some", "abc") is None
