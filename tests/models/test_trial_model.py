"""The trial base model as converted: it answers, stops, and has the right special tokens."""

from __future__ import annotations

import pytest

from tests.support import tiny
from tunebook.models import trial_model


def test_special_tokens() -> None:
    tokenizer = tiny.trial_tokenizer()
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id) == (2, 1)
    assert not tokenizer.clean_up_tokenization_spaces
    ids = tokenizer("hello")["input_ids"]
    assert ids[0] != tokenizer.bos_token_id, "the template writes <|im_start|>; a bos would double it"


@pytest.mark.slow
def test_answers_and_stops() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from tunebook.data.prompt import PromptEncoder
    from tunebook.evaluation.engines.token_lm import TokenLM

    model = AutoModelForCausalLM.from_pretrained(trial_model.ensure(), dtype=torch.float32)
    lm = TokenLM(model, tiny.trial_tokenizer())
    encoder = PromptEncoder(lm.tokenizer)
    context = encoder.context([{"role": "user", "content": "What is the capital of France?"}])
    answer = lm.generate([context], [], max_new=24)[0]
    assert answer.stopped
    assert "Paris" in lm.tokenizer.decode(answer.ids)
