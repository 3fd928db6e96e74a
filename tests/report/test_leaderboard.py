"""Runs side by side: paired on the same rows, refused on others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.helpers import make_run
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.report.leaderboard import compare_runs
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Make a finished run below runs/."""
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))

    def make(
        name: str, task: str = "classification", wrong: int = 0, seconds: float = 1.0, groups: int = 10
    ) -> Run:
        run = make_run(tmp_path / "runs" / "handmade-lora" / name, task, groups)
        path = run / "eval" / "answers" / "tuned.test.jsonl"
        records = read_jsonl(path)
        for record in records[:wrong]:
            record["label"] = None
        write_jsonl(path, records)
        run.mark("train", "done", seconds)
        compare(run)
        run.mark("report", "done")
        return run

    return make


def test_two_runs_are_paired_on_their_rows(
    made: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made("aaaa", wrong=14)
    made("bbbb", wrong=1, seconds=50)
    assert compare_runs(["handmade-lora/aaaa", "handmade-lora/bbbb"], Console()) == 0
    (found,) = read_json(tmp_path / "runs" / "compare.json")
    assert [line["run"] for line in found["runs"]] == ["handmade-lora/bbbb", "handmade-lora/aaaa"]
    (difference,) = found["differences"]
    assert difference["difference"] == pytest.approx(13 / 20)
    assert difference["sentence"].startswith("handmade-lora/bbbb is better than handmade-lora/aaaa")
    assert set(found["pareto"]) == {"handmade-lora/aaaa", "handmade-lora/bbbb"}, "one is better, one cheaper"
    assert "is better than" in capsys.readouterr().out
    assert "<svg" in next((tmp_path / "runs").glob("compare-*.html")).read_text()


def test_a_run_that_is_worse_and_dearer_is_not_on_the_front(made: Callable[..., Run], tmp_path: Path) -> None:
    made("aaaa", wrong=4, seconds=90)
    made("bbbb", wrong=1, seconds=10)
    made("cccc", wrong=9, seconds=20)
    assert compare_runs([], Console()) == 0
    (found,) = read_json(tmp_path / "runs" / "compare.json")
    assert found["pareto"] == ["handmade-lora/bbbb"]
    assert len(found["runs"]) == 3


def test_links_are_not_counted_twice(made: Callable[..., Run], tmp_path: Path) -> None:
    run = made("aaaa")
    (run.folder.parent / "latest").symlink_to("aaaa")
    assert compare_runs([], Console()) == 0
    (found,) = read_json(tmp_path / "runs" / "compare.json")
    assert len(found["runs"]) == 1 and not found["differences"]
    with pytest.raises(InputError, match="at least two different runs"):
        compare_runs(["handmade-lora/aaaa", "handmade-lora/latest"], Console())


def test_other_test_rows_are_refused(made: Callable[..., Run], tmp_path: Path) -> None:
    made("aaaa")
    made("bbbb", groups=12)
    made("cccc", task="qa")
    with pytest.raises(InputError, match="tested on different rows of the same dataset"):
        compare_runs(["handmade-lora/aaaa", "handmade-lora/bbbb"], Console())
    other = made("dddd")
    write_json(other / "metrics.json", {**read_json(other / "metrics.json"), "split": "dev"})
    (other / "data" / "dev.jsonl").write_text("")
    answers = other / "eval" / "answers"
    (answers / "tuned.dev.jsonl").write_bytes((answers / "tuned.test.jsonl").read_bytes())
    with pytest.raises(InputError, match="the splits test and dev"):
        compare_runs(["handmade-lora/aaaa", "handmade-lora/dddd"], Console())
    (other / "state.json").unlink()
    assert compare_runs([], Console()) == 0
    assert len(read_json(tmp_path / "runs" / "compare.json")) == 3, "a table for each test set"


def test_what_has_not_finished_is_refused(made: Callable[..., Run]) -> None:
    made("aaaa")
    made("bbbb").forget("report")
    with pytest.raises(InputError) as caught:
        compare_runs(["handmade-lora/aaaa", "handmade-lora/bbbb"], Console())
    assert caught.value.code == "run.not_finished" and "bbbb" in str(caught.value)
    with pytest.raises(InputError, match="no run at"):
        compare_runs(["handmade-lora/aaaa", "handmade-lora/eeee"], Console())


@pytest.mark.parametrize("name", ["metrics.json", "state.json", "eval/answers/tuned.test.jsonl"])
def test_a_damaged_run_is_left_out_and_named(
    name: str, made: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made("aaaa")
    (made("bbbb") / name).write_text('{"half')
    assert compare_runs([], Console()) == 0
    (found,) = read_json(tmp_path / "runs" / "compare.json")
    assert [line["run"] for line in found["runs"]] == ["handmade-lora/aaaa"]
    assert "skipped" in capsys.readouterr().out


def test_the_page_has_verdicts_and_links_to_the_reports(made: Callable[..., Run], tmp_path: Path) -> None:
    made("aaaa")
    assert compare_runs([], Console()) == 0
    page = next((tmp_path / "runs").glob("compare-*.html")).read_text()
    assert '<a href="handmade-lora/aaaa/report.html">' in page and 'class="red"' in page
