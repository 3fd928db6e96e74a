"""Where a row stands: every message names file, line or row, and the id where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_formats import put
from tunebook.check.findings import Findings
from tunebook.check.rows import survey
from tunebook.core.errors import Problem
from tunebook.data.dataset import Dataset
from tunebook.data.formats.place import Spot, id_of
from tunebook.data.render import Located, each_row

ROWS = [{"id": f"t{n}", "text": f"shed {n}" if n != 2 else "", "label": "a"} for n in range(4)]
SQUAD = {
    "data": [
        {
            "title": "Sheds",
            "paragraphs": [
                {
                    "context": "It is in the shed.",
                    "qas": [
                        {
                            "id": f"q{n}",
                            "question": "Where?",
                            "answers": [{"text": word}],
                            "is_impossible": False,
                        }
                        for n, word in enumerate(("shed", "attic", "shed"))
                    ],
                }
            ],
        }
    ]
}
FILES: dict[str, tuple[Any, str]] = {
    "a.jsonl": (ROWS, "a.jsonl:3 (id t2): text"),
    "a.json": (ROWS, "a.json:1 (id t2): [2].text"),
    "a.csv": ("id,text,label\nt0,shed,a\nt1,shed,a\nt2,,a\nt3,shed,a\n", "a.csv:4 (id t2): text"),
    "a.tsv": ("id\ttext\tlabel\nt0\tshed\ta\nt1\tshed\ta\nt2\t\ta\n", "a.tsv:4 (id t2): text"),
    "a.parquet": (ROWS, "a.parquet:row 3 (id t2): text"),
    "a.xlsx": (
        [["id", "text", "label"], *[list(row.values()) for row in ROWS]],
        "a.xlsx:row 4 (id t2): text",
    ),
}


def dataset(folder: Path, name: str, content: Any, **settings: Any) -> Dataset:
    put(folder, name, content)
    base: dict[str, Any] = {
        "folder": folder,
        "name": "rows",
        "licence": "none",
        "task": "classification",
        "labels": ["a"],
        "system": "",
        "prompt": "{{ text }}",
        "answer": "{{ label }}",
        "source": {"files": dict.fromkeys(("train", "dev", "test"), name), "reader": "labels"},
    }
    return Dataset.model_validate({**base, **settings})


def located(made: Dataset) -> list[Located]:
    return list(each_row(made, "train"))


@pytest.mark.parametrize("name", FILES)
def test_a_fault_names_its_place_and_id_in_every_kind_of_file(name: str, tmp_path: Path) -> None:
    content, said = FILES[name]
    made = dataset(tmp_path, name, content)
    (problem,) = [one.value for one in located(made) if isinstance(one.value, Problem)]
    assert f"{tmp_path}/{said}: " in str(problem)
    found = Findings()
    survey(made, [], found)
    assert f"{said}: " in found.listed(), "check says it, too"


def test_a_question_in_one_line_of_json_has_its_id(tmp_path: Path) -> None:
    qa = {"task": "qa", "labels": [], "answer": None, "answers": "answers", "prompt": "{{ question }}"}
    source = {"files": dict.fromkeys(("train", "dev", "test"), "a.json"), "reader": "squad"}
    made = dataset(tmp_path, "a.json", json.dumps(SQUAD), **qa, source=source)
    rows = located(made)
    problems = [one.value for one in rows if isinstance(one.value, Problem)]
    assert [(problem.key, problem.line.row) for problem in problems] == [  # type: ignore[union-attr]
        ("data[0].paragraphs[0].qas[1].answers[0]", "q1")
    ]
    assert [one.value["id"] for one in rows if isinstance(one.value, dict)] == ["q0", "q2"], (
        "the rest is read"
    )
    assert f"{rows[-1].line}" == "1 (data[0], id q2)"


def test_a_spot_is_a_number_that_says_more() -> None:
    spot = Spot.of(Spot.of(7, path="data[1]"), row="q7", unit="row")
    assert (spot, int(spot), f"{spot}", json.dumps(spot)) == (7, 7, "row 7 (data[1], id q7)", "7")
    assert str(Spot(3)) == "3"


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"qid": 7}, "7"),
        ({"id": None, "uuid": "u"}, "u"),
        ({"id": "a\x1bb"}, "a\\x1bb"),
        ({"id": []}, ""),
        ([], ""),
    ],
)
def test_the_id_of_a_row(row: Any, name: str) -> None:
    assert id_of(row) == name
