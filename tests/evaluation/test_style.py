"""Style: conditions, openings, copies, and what the gates look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunebook.core.files import write_jsonl
from tunebook.evaluation.style import (
    Style,
    conditions,
    copies,
    in_trained_format,
    openings,
    other_tasks,
    other_values,
    styled,
    systems,
)

ROW: dict[str, Any] = {
    "id": "r1",
    "messages": [
        {"role": "system", "content": "Give the code."},
        {"role": "user", "content": "It is stuck."},
        {"role": "assistant", "content": "burrow_jam"},
    ],
}
STYLE = Style(rows=4, max_new_tokens=8, margins={"paraphrased": 0.25, "other_task": 0.25})


@pytest.mark.parametrize("name", ["kettlewick-intents", "kettlewick-handbook", "kettlewick-chat"])
def test_our_own_sets_have_every_condition(name: str) -> None:
    found = conditions([ROW, ROW], name)
    assert set(found) == {"as_trained", "paraphrased", "no_system", "foreign_system", "contradicted"}
    assert found["as_trained"][0] == ROW["messages"][:2]
    assert found["no_system"][0] == ROW["messages"][1:2]
    for condition in ("paraphrased", "foreign_system", "contradicted"):
        system, user = found[condition][0]
        assert system["role"] == "system" and system["content"] != "Give the code."
        assert user == ROW["messages"][1]
    assert found["paraphrased"][0] != found["paraphrased"][1], "the wordings take turns"
    texts = systems(name)["paraphrased"]
    assert len(set(texts)) == len(texts) >= 5


def test_a_dataset_without_wordings_of_its_own() -> None:
    assert set(conditions([ROW], "somebody-elses")) == {"as_trained", "no_system", "foreign_system"}


def test_other_tasks_are_asked_in_the_trained_format() -> None:
    tasks = other_tasks()
    assert len(tasks) >= 20
    assert in_trained_format("Name a fruit.", ROW) == [
        ROW["messages"][0],
        {"role": "user", "content": "Name a fruit."},
    ]
    labels = other_values(tasks, ["burrow_jam"] * len(tasks))
    assert sum(row["value"] for row in labels) == 0, "a label is no answer to another task"


def test_openings_and_distinct_pairs() -> None:
    same = openings(["Ada, the kettle is on now.", "Ada, the kettle is hot.", "Bo, wait a little.", ""])
    assert (same["opening"], same["opening_share"]) == ("Ada, the kettle is", pytest.approx(2 / 3))
    assert openings(["a b a b a b"])["distinct_2"] == pytest.approx(2 / 5)
    assert openings([]) == {"opening": "", "opening_share": None, "distinct_2": None}


def test_copies_name_the_training_row() -> None:
    words = [f"w{i}" for i in range(14)]
    train = [{"id": "t7", "messages": [{"role": "assistant", "content": " ".join(words)}]}]
    answers = [
        {"id": "a", "answer": "well " + " ".join(words[2:13])},
        {"id": "b", "answer": " ".join(words[:9])},
        {"id": "c"},
    ]
    (found,) = copies(answers, train)
    assert (found["id"], found["train_row"]) == ("a", "t7")
    assert found["words"] == " ".join(words[2:12])


def values(*given: float) -> list[dict[str, Any]]:
    return [{"id": str(i), "group": str(i), "value": v, "stopped": True} for i, v in enumerate(given)]


def test_a_model_that_only_knows_its_own_wording_fails(tmp_path: Path) -> None:
    assert styled(tmp_path, STYLE, [], []) is None
    write_jsonl(tmp_path / "tuned.style-as_trained.jsonl", values(1, 1, 1, 1, 1, 1))
    write_jsonl(tmp_path / "tuned.style-paraphrased.jsonl", values(0, 1, 0, 0, 1, 0))
    write_jsonl(tmp_path / "tuned.style-no_system.jsonl", values(1, 1, 1, 1, 1, 1))
    write_jsonl(tmp_path / "tuned.style-other_task.jsonl", values(1, 1, 0, 1, 1, 1))
    write_jsonl(tmp_path / "base.style-other_task.jsonl", values(1, 1, 0, 1, 1, 1))
    found = styled(tmp_path, STYLE, [{"id": "a", "answer": "yes"}], [])
    assert found is not None
    by_name = {line["condition"]: line for line in found["conditions"]}
    assert by_name["paraphrased"]["drop"] == pytest.approx(4 / 6)
    assert by_name["paraphrased"]["passed"] is False
    assert by_name["other_task"]["passed"] is True and by_name["other_task"]["drop"] == 0
    assert by_name["no_system"]["margin"] is None and by_name["no_system"]["passed"] is None
    assert found["stop_rate"] == 1
