"""TokenLM against the plain, slow way of computing the same thing."""

from __future__ import annotations

import math

import pytest

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.evaluation.engines.protocol import common_prefix

torch, peft = lazy("torch"), lazy("peft")
classifier = lazy("tunebook.evaluation.engines.classifier")
token_lm = lazy("tunebook.evaluation.engines.token_lm")
virtual_tokens = lazy("tunebook.plugins.virtual_tokens")
SHARED = list(range(100, 130))  # more than token_lm.MIN_SHARED
VIRTUAL = {"prompt": "PromptTuningConfig", "prefix": "PrefixTuningConfig"}


@pytest.fixture(scope="module", params=["sdpa", "eager", "prompt", "prefix"])
def lm(request: pytest.FixtureRequest) -> token_lm.TokenLM:
    """A model with `plain`, the callable that gives its logits the slow way: with virtual tokens, PEFT's."""
    torch.set_num_threads(1)  # the model is tiny: a second thread only waits for the first
    assert len(SHARED) >= token_lm.MIN_SHARED
    if request.param in VIRTUAL:
        torch.manual_seed(1)
        virtual = getattr(peft, VIRTUAL[request.param])(task_type="CAUSAL_LM", num_virtual_tokens=5)
        plain = peft.get_peft_model(tiny.model(attn_implementation="eager"), virtual).eval()
        lm = token_lm.TokenLM(plain.get_base_model(), tiny.tokenizer(), virtual_tokens.virtual_cache(plain))
    else:
        plain = tiny.model(attn_implementation=request.param)
        lm = token_lm.TokenLM(plain, tiny.tokenizer())
    lm.plain = plain
    return lm


def slow_logits(lm: token_lm.TokenLM, ids: list[int]) -> torch.Tensor:
    """Return the logits of one sequence, (T, vocabulary), without those of virtual tokens."""
    with torch.inference_mode():
        return lm.plain(input_ids=torch.tensor([ids])).logits[0][-len(ids) :]


def logprob(lm: token_lm.TokenLM, context: list[int], answer: list[int]) -> float:
    logits = slow_logits(lm, context + answer).log_softmax(-1)
    start = len(context) - 1
    return sum(float(logits[start + i, token]) for i, token in enumerate(answer))


CONTEXTS = {
    "short": [[5, 6, 7], [8, 9, 10, 11, 12], [5, 6]],
    "shared": [SHARED + [5, 6, 7], SHARED + [8], SHARED + [9, 10, 11, 12]],
}


@pytest.mark.parametrize("kind", CONTEXTS)
def test_score_equals_one_row_at_a_time(lm: token_lm.TokenLM, kind: str) -> None:
    contexts, answers = CONTEXTS[kind], [[20, 21], [22], [23, 24, 25, 26]]
    expected = [logprob(lm, c, a) for c, a in zip(contexts, answers, strict=True)]
    assert lm.score(contexts, answers, common_prefix(contexts)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", CONTEXTS)
def test_the_turns_of_a_conversation_score_in_one_pass_as_in_one_each(
    lm: token_lm.TokenLM, kind: str
) -> None:
    contexts, rests = CONTEXTS[kind], [list(range(20, 32)), [22, 23], list(range(40, 47))]
    spans = [[(0, 2), (5, 8), (11, 12)], [(0, 2)], [(1, 3), (4, 7)]]
    expected = [
        [logprob(lm, c + rest[:start], rest[start:end]) for start, end in places]
        for c, rest, places in zip(contexts, rests, spans, strict=True)
    ]
    found = lm.score_spans(contexts, rests, spans, common_prefix(contexts))
    for one, wanted in zip(found, expected, strict=True):
        assert one == pytest.approx(wanted, abs=1e-3)
    # A whole answer is what it always was, to the last bit.
    whole = [[(0, len(rest))] for rest in rests]
    alone = lm.score(contexts, rests, common_prefix(contexts))
    assert lm.score_spans(contexts, rests, whole, common_prefix(contexts)) == [[value] for value in alone]


@pytest.mark.parametrize("kind", CONTEXTS)
def test_rank_equals_scoring_each_choice_alone(lm: token_lm.TokenLM, kind: str) -> None:
    contexts, choices = CONTEXTS[kind], [[30], [31, 32, 33], [31, 34], [30, 2]]
    expected = [[logprob(lm, context, choice) for choice in choices] for context in contexts]
    for got, wanted in zip(
        lm.rank_choices(contexts, choices, common_prefix(contexts)), expected, strict=True
    ):
        assert got == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("kind", CONTEXTS)
def test_generate_equals_greedy_one_row_at_a_time(lm: token_lm.TokenLM, kind: str) -> None:
    contexts = CONTEXTS[kind]
    for context, answer in zip(
        contexts, lm.generate(contexts, common_prefix(contexts), max_new=6), strict=True
    ):
        ids = list(context)
        for _ in range(6):
            ids.append(int(slow_logits(lm, ids)[-1].argmax()))
            if ids[-1] == lm.end:
                break
        wanted = ids[len(context) :]
        assert answer.stopped == (wanted[-1] == lm.end)
        assert answer.ids == [token for token in wanted if token != lm.end]


def test_common_prefix_leaves_every_row_a_token() -> None:
    assert common_prefix([[1, 2, 3], [1, 2], [1, 2, 4]]) == [1]
    assert common_prefix([[1], [2]]) == []


def test_generation_stops_at_the_turn_end(lm: token_lm.TokenLM) -> None:
    answer = lm.generate([[5, 6, 7]], [], max_new=1)[0]
    lm_end, lm.end = lm.end, (answer.ids or [lm.end])[0]
    try:
        assert lm.generate([[5, 6, 7]], [], max_new=4)[0].stopped
        assert lm.generate([[5, 6, 7]], [], max_new=4)[0].ids == []
    finally:
        lm.end = lm_end


def test_virtual_tokens_change_the_answers(lm: token_lm.TokenLM) -> None:
    base = token_lm.TokenLM(tiny.model(), tiny.tokenizer())
    contexts, choices = CONTEXTS["short"], [[30], [31, 32]]
    same = lm.rank_choices(contexts, choices, [])[0] == pytest.approx(
        base.rank_choices(contexts, choices, [])[0], abs=1e-3
    )
    assert same == (lm.virtual is None)


def test_the_harness_is_not_asked_behind_virtual_tokens(lm: token_lm.TokenLM) -> None:
    ids = torch.tensor([[5, 6, 7]])
    if lm.virtual is None:
        assert lm._model_call(ids).shape == (1, 3, tiny.WORDS)
    else:
        with pytest.raises(NotImplementedError, match="virtual tokens"):
            lm._model_call(ids)


def test_a_heads_scores_are_those_of_one_row_at_a_time() -> None:
    from transformers import LlamaForSequenceClassification

    torch.manual_seed(0)
    config = tiny.model().config
    config.num_labels = 3
    head = classifier.HeadLM(LlamaForSequenceClassification(config), tiny.tokenizer())
    contexts = CONTEXTS["short"]
    with torch.inference_mode():
        alone = [
            head.net(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1).tolist() for ids in contexts
        ]
    for got, wanted in zip(head.classify(contexts), alone, strict=True):
        assert got == pytest.approx(wanted, abs=1e-4)
        assert sum(map(math.exp, got)) == pytest.approx(1)


def test_the_output_layer_gets_rows_without_gaps() -> None:
    """Otherwise, PyTorch's product in bf16 on a CPU takes a hundred times as long."""
    net = tiny.model()
    lm = token_lm.TokenLM(net, tiny.tokenizer())
    again = token_lm.TokenLM(net, tiny.tokenizer())
    strides: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    net.lm_head.register_forward_pre_hook(
        lambda _, args: strides.append((tuple(args[0].shape), args[0].stride()))
    )
    for contexts in (CONTEXTS["short"], CONTEXTS["short"][:1]):
        lm.generate(contexts, [], 2)
        again.rank_choices(contexts, [[20, 21], [22]], [])
        lm.score(contexts, [[20, 21]] * len(contexts), [])
    assert {shape[0] for shape, _ in strides} == {1, 3}
    assert all(stride[0] == shape[1] * shape[2] for shape, stride in strides), strides
