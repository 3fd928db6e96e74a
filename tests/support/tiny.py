"""A tiny random Llama with the trial model's real tokenizer and chat template."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from tunebook.core.paths import ROOT
from tunebook.models import trial_model


def tokenizer() -> Any:
    """Return a copy of the trial model's tokenizer, which is read once."""
    return copy.deepcopy(_read())


@functools.cache
def _read() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(trial_model.ensure())


def small_tokenizer(words: int) -> Any:
    """Return the same with `words` tokens, which is read in a tenth of the time: for tests without text."""
    text = [(ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")]
    small = tokenizer().train_new_from_iterator(text, words, show_progress=False)
    assert len(small) == words
    return small


def model(**changes: Any) -> Any:
    """Build a 2-layer Llama of hidden size 64 in fp32, seeded."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = {
        "vocab_size": 49152,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def save(folder: Path) -> Path:
    """Write the tiny model and the tokenizer to `folder`."""
    model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
