"""Windows of long passages: around the answer in train, by the question alone in dev and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import long_passages
from tunebook.core.errors import InputError
from tunebook.core.words import pieces
from tunebook.data.dataset import Dataset
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.windows import cut, held, holds
from tunebook.data.render import render_all
from tunebook.data.renderer import Renderer

SHAPE = {"questions": 120, "passages": 20, "characters": 6000}


def dataset(folder: Path, **source: Any) -> Dataset:
    home = folder / "places"
    home.mkdir(exist_ok=True)
    long_passages.write(home / "a.json", **SHAPE)
    shares = {"files": {"train": "a.json"}, "dev_share": 0.2, "test_share": 0.2}
    return Dataset.model_validate(
        {
            **{"folder": home, "name": "places", "task": "qa", "licence": "none", "group": "title"},
            **{"system": "Answer.", "prompt": "{{ context }}\n\n{{ question }}", "answers": "answers"},
            "source": {**shares, "reader": "squad", **source},
        }
    )


def rows() -> list[dict[str, Any]]:
    made = read_layout(enumerate(long_passages.articles(**SHAPE), 1), "squad", {}, "a.json")
    return [row for _, row in made]


def test_a_window_of_train_holds_the_answer_at_every_place() -> None:
    places = []
    for row in rows():
        window = cut(row, 100, row["answers"])["context"]
        assert window in row["context"] and len(pieces(window)) <= 100
        assert window.count(row["answers"][0]) == 1
        places.append(window.index(row["answers"][0]) / len(window))
    thirds = [sum(third <= place * 3 < third + 1 for place in places) for third in range(3)]
    assert min(thirds) > len(places) / 6, "not always in the middle, and not at one end"


def test_a_window_of_test_knows_nothing_of_the_answer() -> None:
    hits = 0
    for row in rows():
        plain = cut(row, 100)["context"]
        blind = {key: value for key, value in row.items() if key not in ("answers", "answer_start")}
        assert cut(blind, 100)["context"] == plain
        hits += row["answers"][0] in plain
    assert 0.7 * len(rows()) < hits, "the words of the question find most answers"


def test_windows_are_the_same_every_time_and_short_passages_stay() -> None:
    row = rows()[0]
    assert cut(row, 100, row["answers"]) == cut(dict(row), 100, row["answers"])
    assert cut(row, 5000) is row
    assert cut({**row, "context": "Short."}, 100, ["Short"])["context"] == "Short."


def test_of_several_places_the_one_the_file_names_counts_else_the_one_by_the_question() -> None:
    filler = "Nothing of note took place there that day. " * 30
    passage = f"The mill paid 12 crowns. {filler}The bell of Aldburn was cast in the year 12. {filler}"
    row = {"context": passage, "question": "In which year was the bell of Aldburn cast?"}
    assert "bell" in cut(row, 30, ["12"])["context"]
    assert "mill" in cut({**row, "answer_start": passage.index("12")}, 30, ["12"])["context"]
    assert "bell" in cut({**row, "answer_start": 3}, 30, ["12"])["context"], "a wrong place is not believed"


@pytest.mark.parametrize(
    "passage",
    [
        "word " * 900 + "needle " + "word " * 900,  # no sentence ends
        "\u3042\u3044\u3046\u3048\u304a\u3002" * 200
        + "needle\u3002"
        + "\u304b\u304d\u304f\u3051\u3053\u3002" * 200,
        "needle " + "One two three. " * 400,
        "One two three. " * 400 + "needle",
    ],
)
def test_any_passage_is_cut(passage: str) -> None:
    window = cut({"context": passage, "question": "Where is it?"}, 60, ["needle"])["context"]
    assert "needle" in window and len(pieces(window)) <= 60 and len(window) < len(passage)


def test_an_answer_that_is_not_in_the_passage_has_a_window_by_the_question() -> None:
    row = {"context": "One two three. " * 100 + "The bell rang. " + "Four five. " * 100, "question": "Bell?"}
    assert "bell" in cut(row, 20, ["yes"])["context"]
    assert "bell" in cut(row, 20, [])["context"]


@pytest.mark.slow
def test_each_split_gets_its_own_windows(tmp_path: Path) -> None:
    found = render_all(dataset(tmp_path, window=100))
    sizes = {split: len(some) for split, some in found.items()}
    assert sizes["train"] + sizes["dev"] + sizes["test"] == 120 and min(sizes.values()) >= 20
    assert held(found["train"]) == (sizes["train"], sizes["train"])
    whole = {row["id"]: row for some in render_all(dataset(tmp_path)).values() for row in some}
    own = {row["question"]: row for row in rows()}
    for split, some in found.items():
        for row in some:
            assert set(row) == set(whole[row["id"]]), "nothing else is in a row"
            assert row["group"] == whole[row["id"]]["group"]
            shown, question = row["messages"][1]["content"].rsplit("\n\n", 1)
            blind = cut(own[question], 100)["context"]
            assert split == "train" or shown == blind


def test_a_new_question_gets_the_window_of_a_test_row(tmp_path: Path) -> None:
    data = dataset(tmp_path, window=100)
    row = rows()[3]
    asked = Renderer(data).question({key: row[key] for key in ("context", "question")})
    assert asked[-1]["content"] == f"{cut(row, 100)['context']}\n\n{row['question']}"


def test_a_window_is_only_for_passages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="window only applies"):
        dataset(tmp_path, window=100, reader="chat")
    assert holds({"messages": [{"role": "user", "content": "x 12"}, {}], "gold": {"answers": ["12"]}})
    assert held([{"messages": [{}], "gold": {"answers": []}}]) == (0, 0)


def test_the_generator_makes_what_it_says(tmp_path: Path) -> None:
    made = json.loads(long_passages.write(tmp_path / "x.json", **SHAPE).read_text())["data"]
    contexts = [article["paragraphs"][0]["context"] for article in made]
    assert len(contexts) == 20 and all(5500 < len(context) < 6500 for context in contexts)
    for article in made:
        (paragraph,) = article["paragraphs"]
        for item in paragraph["qas"]:
            (answer,) = item["answers"]
            assert paragraph["context"].startswith(answer["text"], answer["answer_start"])
            assert paragraph["context"].count(answer["text"]) == 1
    assert made == long_passages.articles(**SHAPE)
    with pytest.raises(InputError):
        render_all(dataset(tmp_path, files={"train": "none.json"}))
