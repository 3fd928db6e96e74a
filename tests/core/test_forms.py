"""Files of rows and answers with a typed form: what does not fit is named by file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.metrics.answers import Answer, read_answer_file, read_values, write_answers
from tunebook.runs.rows import RenderedRow, read_rows, write_rows

ROW: RenderedRow = {
    "id": "a",
    "group": "g",
    "source": "trees",
    "messages": [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": "acorn", "weight": 1},
    ],
    "gold": {"answer": "acorn", "answers": ["acorn"]},
}
ANSWER: Answer = {"id": "a", "group": "g", "gold": "acorn", "answer": "acorn", "label": None, "stopped": True}


def test_what_is_written_is_read_with_keys_of_its_own(tmp_path: Path) -> None:
    row: Any = {**ROW, "gold": {**ROW["gold"], "field": [1, {"two": 2}]}, "later": None}
    write_rows(tmp_path / "a" / "train.jsonl", [row])
    assert read_rows(tmp_path / "a" / "train.jsonl") == [row] == read_jsonl(tmp_path / "a" / "train.jsonl")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"id": 7}, "id"),
        ({"group": None}, "group"),
        ({"messages": "Which?"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"gold": {}}, "gold.answer"),
        ({"gold": {"answer": "x", "answers": "x"}}, "gold.answers"),
        ({"rejected": {}}, "rejected"),
        ({"tools": []}, "tools"),
    ],
)
def test_a_row_of_another_form_is_named(changes: dict[str, Any], key: str, tmp_path: Path) -> None:
    file = tmp_path / "dev.jsonl"
    write_jsonl(file, [ROW, {**ROW, **changes}])
    with pytest.raises(InputError) as error:
        read_rows(file)
    (problem,) = error.value.problems
    assert (problem.code, problem.line, problem.key) == ("run.other_version", 2, key)
    assert str(problem.file) == str(file)
    with pytest.raises(ValidationError):
        write_rows(tmp_path / "new.jsonl", read_jsonl(file))  # type: ignore[arg-type]
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize("line", ['["a"]', '"a"', "7", "null"])
def test_a_line_that_is_no_object_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "dev.jsonl"
    write_jsonl(file, [ROW])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(InputError) as error:
        read_rows(file)
    assert [(one.code, one.line, one.key) for one in error.value.problems] == [("run.other_version", 2, None)]


def test_a_row_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "dev.jsonl"
    write_jsonl(file, [ROW, ROW])
    file.write_text(file.read_text()[:-20])
    with pytest.raises(InputError) as error:
        read_rows(file)
    assert (error.value.code, error.value.problems[0].line) == ("run.damaged_file", 2)


def test_of_many_the_first_few_are_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "dev.jsonl", [{**ROW, "id": number} for number in range(50)])
    with pytest.raises(InputError) as error:
        read_rows(tmp_path / "dev.jsonl")
    assert [problem.line for problem in error.value.problems] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"stopped": "yes"}, "stopped"),
        ({"scores": [0.5, "x"]}, "scores[1]"),
        ({"loss": "0.5"}, "loss"),
        ({"rules_met": {"short": 1}}, "rules_met.short"),
    ],
)
def test_an_answer_of_another_form_is_named(changes: dict[str, Any], key: str, tmp_path: Path) -> None:
    file = tmp_path / "tuned.test.jsonl"
    write_jsonl(file, [ANSWER, {**ANSWER, **changes}])
    with pytest.raises(InputError) as error:
        read_answer_file(file)
    (problem,) = error.value.problems
    assert (problem.code, problem.line, problem.key) == ("run.other_version", 2, key)
    with pytest.raises(ValidationError):
        write_answers(tmp_path / "new.jsonl", read_jsonl(file))  # type: ignore[arg-type]


def test_a_number_that_is_none_can_be_read(tmp_path: Path) -> None:
    """It is refused later, with what to do about a training that diverged."""
    write_jsonl(tmp_path / "a.jsonl", [{**ANSWER, "loss": float("nan")}])
    assert read_answer_file(tmp_path / "a.jsonl")[0]["loss"] != 0


def test_a_value_needs_a_number(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": "a", "group": "a", "value": 1}, {"id": "b", "group": "b"}])
    with pytest.raises(InputError) as error:
        read_values(tmp_path / "a.jsonl")
    assert (error.value.code, error.value.problems[0].line) == ("run.other_version", 2)
    assert error.value.problems[0].key == "value"
