"""The rules of `tunebook advise`: the first no decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunebook.plan.advise import FEWEST_TRAIN, SVM_DOES, Facts, advise

GOOD = Facts(
    task="classification",
    train=600,
    test=300,
    test_groups=52,
    can_show=0.08,
    near=0.05,
    words=20,
    labels={"a": 300, "b": 300},
    svm=(0.8, 0.75),
    frequent=0.5,
)
PASSAGES = replace(GOOD, task="qa", labels={}, svm=None, frequent=None, in_passage=0.9)


@pytest.mark.parametrize(
    ("facts", "word", "recipe"),
    [
        (GOOD, "head", "classify-head"),
        (PASSAGES, "LoRA", "qa-lora"),
        (replace(PASSAGES, task="chat", in_passage=None, can_show=0.02), "LoRA", "chat-lora"),
        (replace(PASSAGES, task="preference", in_passage=None), "LoRA, then pairs", "chat-dpo"),
        (replace(GOOD, can_show=None, test_groups=3), "more data", None),
        (replace(GOOD, can_show=0.3), "more data", None),
        (replace(GOOD, train=FEWEST_TRAIN - 1), "prompt", None),
        (replace(GOOD, labels={"a": 598, "b": 2}), "more data", None),
        (replace(GOOD, near=0.8), "more data", None),
        (replace(PASSAGES, in_passage=0.02), "retrieve", None),
        (replace(GOOD, svm=(0.97, SVM_DOES)), "SVM", None),
    ],
)
def test_the_first_no_decides(facts: Facts, word: str, recipe: str | None) -> None:
    found = advise(facts)
    assert (found.word, found.recipe) == (word, recipe)
    assert [answer.yes for answer in found.answers].count(False) == (recipe is None)
    assert (found.answers[-1].yes is False) == (recipe is None)
    assert len(found.answers) == 6 or recipe is None
    assert all(answer.found for answer in found.answers)


def test_a_difference_in_bits_is_held_to_bits() -> None:
    chat = replace(PASSAGES, task="chat", in_passage=None)
    assert advise(replace(chat, can_show=0.12)).word == "more data"
    assert "bits per byte" in advise(replace(chat, can_show=0.12)).answers[0].found
    assert "8 points" in advise(GOOD).answers[0].found
