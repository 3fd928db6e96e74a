"""The rules of `tunebook advise`: the first no decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunebook.plan.advise import FEWEST_TRAIN, PROMPT_DOES, SVM_DOES, Facts, Prompted, Tried, advise

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


def prompted(low: float | None, who: str = "endpoint", metric: str = "accuracy") -> Prompted:
    tried = [Tried("4 examples", 0.96, low, 1.0), Tried("plain prompt", 0.5, 0.3, 0.7)]
    return Prompted("large-chat", who, metric, metric, 24, 0, tried, 0.8, 0.12)


@pytest.mark.parametrize(
    ("sample", "word", "yes"),
    [
        (prompted(PROMPT_DOES), "prompt", False),
        (prompted(PROMPT_DOES, "trial base"), "prompt", False),
        (prompted(PROMPT_DOES - 0.01), "head", True),
        (prompted(PROMPT_DOES - 0.01, "trial base"), "head", None),  # a larger base may do better
        (prompted(None), "head", True),  # too few groups for an interval
        (prompted(0.95, metric="chrf"), "head", None),  # of free text no score is good enough by itself
        ("ASK=0", "head", None),
    ],
)
def test_a_prompt_that_does_the_job_is_the_advice(
    sample: Prompted | str, word: str, yes: bool | None
) -> None:
    found = advise(replace(GOOD, prompted=sample))
    assert (found.word, found.answers[-1].yes) == (word, yes)
    assert (found.recipe is None) == (word == "prompt")
    if isinstance(sample, Prompted):
        assert all(
            part in found.answers[-1].found for part in ("large-chat", "24 dev rows", "0.8 s", "$0.12")
        )
        assert "plain prompt" in found.answers[-1].found
    else:
        assert sample in found.answers[-1].found


def test_no_model_is_asked_about_rows_that_another_question_rules_out() -> None:
    few = replace(GOOD, train=FEWEST_TRAIN - 1, prompted=prompted(0.1))
    assert len(advise(few).answers) == 2
