"""Who is compared: the promptings of the base, the few-shot examples and the linear classifier."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tunebook.core.files import Row
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.render import render
from tunebook.evaluation.contenders import PLAIN, Prompting, choose_examples, promptings, that_fit, untuned
from tunebook.evaluation.engines.linear_svm import linear_svm


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset_config("kettlewick-intents")


@pytest.fixture(scope="module")
def train(dataset: Dataset) -> list[Row]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TUNEBOOK_SOURCES", raising=False)
        return render(dataset, "train")


@pytest.mark.parametrize(
    ("name", "prompt", "count"),
    [
        ("kettlewick-intents", True, 8),
        ("kettlewick-intents", False, 4),
        ("kettlewick-chat", True, 4),
        ("kettlewick-chat", False, 2),
        ("kettlewick-preference", True, 4),
    ],
)
def test_promptings(name: str, prompt: bool, count: int) -> None:
    dataset = load_dataset_config(name)
    if not prompt:
        dataset = dataset.model_copy(update={"baseline_prompt": None})
    candidates = promptings(dataset)
    assert len({one.name() for one in candidates}) == len(candidates) == count
    assert PLAIN in candidates
    assert any(one.few_shot for one in candidates)
    assert any(one.baseline_prompt for one in candidates) == prompt
    assert any(one.method == "rank" for one in candidates) == bool(dataset.labels)


def test_names_on_disk() -> None:
    assert untuned(PLAIN).name == "base_generate_0"
    assert untuned(Prompting("rank", few_shot=True)).name == "base_rank_k"
    other = untuned(Prompting("generate", few_shot=True, baseline_prompt=True), "qwen3")
    assert (other.name, other.model) == ("qwen3_generate_k_prompt", "base")


def labels_of(shots: list[list[dict[str, str]]]) -> list[str]:
    return [shot[-1]["content"] for shot in shots]


@pytest.mark.parametrize("count", [0, 1, 4, 14])
def test_shots_have_each_another_label(dataset: Dataset, train: list[Row], count: int) -> None:
    for seed in range(5):
        labels = labels_of(choose_examples(train, dataset, count, seed))
        assert len(set(labels)) == len(labels) == count


def test_more_shots_than_labels(dataset: Dataset, train: list[Row]) -> None:
    labels = labels_of(choose_examples(train, dataset, 20, 1))
    assert len(labels) == 20
    assert set(labels) == set(dataset.labels)


def test_shots_where_train_lacks_labels(dataset: Dataset, train: list[Row]) -> None:
    two = [row for row in train if row["gold"]["answer"] in dataset.labels[:2]]
    labels = labels_of(choose_examples(two, dataset, 4, 1))
    assert len(labels) == 4
    assert set(labels) == set(dataset.labels[:2])


def test_shots_are_seeded(dataset: Dataset, train: list[Row]) -> None:
    shots = choose_examples(train, dataset, 4, seed=1)
    assert choose_examples(list(reversed(train)), dataset, 4, seed=1) == shots, "the order of rows is nothing"
    assert choose_examples(train, dataset, 4, seed=2) != shots
    assert all(shot in [row["messages"] for row in train] for shot in shots)


def test_chat_shots_are_whole_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    chat = load_dataset_config("kettlewick-chat")
    rows = render(chat, "dev")
    shots = choose_examples(rows, chat, 3, seed=1)
    assert len(shots) == 3
    assert all(shot in [row["messages"] for row in rows] for shot in shots)


def test_linear_svm_beats_majority(
    dataset: Dataset, train: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    dev = render(dataset, "dev")
    gold = [row["gold"]["answer"] for row in dev]
    right = sum(a == b for a, b in zip(linear_svm(train, dev), gold, strict=True))
    assert right / len(gold) > 0.5
    assert right > 3 * max(Counter(gold).values())


class Words:
    """An encoder whose tokens are words."""

    def text(self, messages: Any, tools: str | None = None, opened: bool = False) -> str:
        return " ".join(turn["content"] for turn in messages)

    def context(self, messages: Any, tools: str | None = None) -> list[int]:
        return [0] * len(self.text(messages).split())

    def tokenizer(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [0] * len(text.split())}


@pytest.mark.parametrize(
    ("room", "fit"), [(None, 3), (1000, 3), (53, 3), (52, 2), (41, 1), (31, 1), (30, 0), (5, 0)]
)
def test_as_many_examples_are_shown_as_fit_before_the_longest_prompt(room: int | None, fit: int) -> None:
    def turns(words: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "w " * words}, {"role": "assistant", "content": "x"}]

    examples, rows = [turns(10), turns(10), turns(10)], [{"messages": turns(n)} for n in (3, 20, 7)]
    assert that_fit(examples, rows, Words(), room) == examples[:fit]  # type: ignore[arg-type]
