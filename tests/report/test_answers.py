"""Answer files that are broken: named, refused, and evaluated again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.helpers import CONTENDERS, LABELS, make_run
from tunebook.core.errors import InputError
from tunebook.report.answers import read_answers
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

NAMES = CONTENDERS["classification"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def test_whole_files_are_read(run: Run) -> None:
    answers = read_answers(run, NAMES, "test", LABELS)
    assert list(answers) == NAMES
    assert all(len(records) == 20 for records in answers.values())
    assert run.done("evaluate")


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda text: text[: len(text) // 2], r"tuned\.test\.jsonl:1\d: is truncated or not JSON"),
        (
            lambda text: text[: text.index("\n") + 1],
            r"tuned\.test\.jsonl: has other rows .*got 1, expected 20",
        ),
        (lambda text: "", r"tuned\.test\.jsonl: has other rows .*got 0, expected 20"),
        (lambda text: text.replace('"r3"', '"r99"'), r"tuned\.test\.jsonl: has other rows"),
    ],
)
def test_a_file_cut_in_half(run: Run, keep, said: str) -> None:  # type: ignore[no-untyped-def]
    path = run / "eval" / "answers" / "tuned.test.jsonl"
    path.write_text(keep(path.read_text()))
    with pytest.raises(InputError, match=said):
        compare(run)
    assert not run.done("evaluate"), "the same command evaluates again"
    assert run.done("train")
    assert not (run / "metrics.json").exists()


def test_every_broken_file_is_named(run: Run) -> None:
    (run / "eval" / "answers" / "svm.test.jsonl").unlink()
    (run / "eval" / "answers" / "tuned.test.jsonl").write_text("{")
    with pytest.raises(InputError) as caught:
        compare(run)
    assert "svm.test.jsonl: is missing" in str(caught.value)
    assert "tuned.test.jsonl:1: is truncated" in str(caught.value)


def test_nan_is_named_with_its_row(tmp_path: Path) -> None:
    run = make_run(tmp_path, "chat")
    path = run / "eval" / "answers" / "tuned.test.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[2]["loss"] = float("nan")
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(InputError, match=r"tuned\.test\.jsonl:3: loss: is not a number \(got nan\)"):
        compare(run)
    assert run.done("evaluate"), "it would say the same again"


def test_an_empty_split(run: Run) -> None:
    (run / "data" / "test.jsonl").write_text("")
    with pytest.raises(InputError, match=r"data/test\.jsonl: has no rows"):
        compare(run)


def test_a_gold_label_outside_the_set(run: Run) -> None:
    path = run / "data" / "test.jsonl"
    text = path.read_text()
    path.write_text(text.replace('{"answer": "beech"}', '{"answer": "beach"}', 1))
    assert path.read_text() != text
    with pytest.raises(InputError, match=r"test\.jsonl:2: gold: is not among the labels .*'beach'"):
        compare(run)


def test_answers_of_another_form_are_named_and_made_again(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run / "eval" / "answers" / "tuned.test.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[2]["stopped"] = "yes"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(InputError) as error:
        read_answers(run, NAMES, "test", LABELS)
    (problem,) = error.value.problems
    assert (problem.code, problem.line, problem.key) == ("run.other_version", 3, "stopped")
    assert not run.done("evaluate")
