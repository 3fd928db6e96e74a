"""TokenLM against the plain, slow way of computing the same thing."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tunebook.lm import MIN_SHARED, TokenLM, common_prefix

torch.set_num_threads(2)
SHARED = list(range(100, 100 + MIN_SHARED + 6))


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def lm(request: pytest.FixtureRequest) -> TokenLM:
    return TokenLM(tiny.model(attn_implementation=request.param), tiny.tokenizer())


def logprob(model: torch.nn.Module, context: list[int], answer: list[int]) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([context + answer])).logits[0].log_softmax(-1)
    start = len(context) - 1
    return sum(float(logits[start + i, token]) for i, token in enumerate(answer))


CONTEXTS = {
    "short": [[5, 6, 7], [8, 9, 10, 11, 12], [5, 6]],
    "shared": [SHARED + [5, 6, 7], SHARED + [8], SHARED + [9, 10, 11, 12]],
}


@pytest.mark.parametrize("kind", CONTEXTS)
def test_score_equals_one_row_at_a_time(lm: TokenLM, kind: str) -> None:
    contexts, answers = CONTEXTS[kind], [[20, 21], [22], [23, 24, 25, 26]]
    expected = [logprob(lm.net, c, a) for c, a in zip(contexts, answers, strict=True)]
    assert lm.score(contexts, answers, common_prefix(contexts)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", CONTEXTS)
def test_rank_equals_scoring_each_choice_alone(lm: TokenLM, kind: str) -> None:
    contexts, choices = CONTEXTS[kind], [[30], [31, 32, 33], [31, 34], [30, 2]]
    expected = [[logprob(lm.net, context, choice) for choice in choices] for context in contexts]
    for got, wanted in zip(lm.rank(contexts, choices, common_prefix(contexts)), expected, strict=True):
        assert got == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("kind", CONTEXTS)
def test_generate_equals_greedy_one_row_at_a_time(lm: TokenLM, kind: str) -> None:
    contexts = CONTEXTS[kind]
    for context, answer in zip(
        contexts, lm.generate(contexts, common_prefix(contexts), max_new=6), strict=True
    ):
        ids = list(context)
        for _ in range(6):
            with torch.inference_mode():
                ids.append(int(lm.net(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == lm.end:
                break
        wanted = ids[len(context) :]
        assert answer.stopped == (wanted[-1] == lm.end)
        assert answer.ids == [token for token in wanted if token != lm.end]


def test_common_prefix_leaves_every_row_a_token() -> None:
    assert common_prefix([[1, 2, 3], [1, 2], [1, 2, 4]]) == [1]
    assert common_prefix([[1], [2]]) == []


def test_generation_stops_at_the_turn_end(lm: TokenLM) -> None:
    answer = lm.generate([[5, 6, 7]], [], max_new=1)[0]
    lm_end, lm.end = lm.end, (answer.ids or [lm.end])[0]
    try:
        assert lm.generate([[5, 6, 7]], [], max_new=4)[0].stopped
        assert lm.generate([[5, 6, 7]], [], max_new=4)[0].ids == []
    finally:
        lm.end = lm_end
