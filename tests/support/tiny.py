"""A tiny random Llama with the trial model's chat template and a small vocabulary, since a test of two steps
spends most of its time on the logits of 49,152 tokens."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from tunebook.core.paths import ROOT
from tunebook.models import trial_model

WORDS = 4096  # with which the rows below have as many tokens as with the trial model's
ROWS = ("kettlewick-chat", "kettlewick-intents", "kettlewick-handbook")


def trial_tokenizer() -> Any:
    """Return a copy of the trial model's real tokenizer, which is read once."""
    return copy.deepcopy(_read())


@functools.cache
def _read() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(trial_model.ensure())


def tokenizer(words: int = WORDS) -> Any:
    """Return one with the special tokens and the template of the trial model's, and `words` tokens."""
    return copy.deepcopy(_small(words))


@functools.cache
def _small(words: int) -> Any:
    files = [ROOT / "datasets" / name / "source" / "train.jsonl" for name in ROWS]
    text = [path.read_text(encoding="utf-8") for path in files]
    small = _read().train_new_from_iterator(text, words, show_progress=False)
    assert len(small) == words
    return small


def model(**changes: Any) -> Any:
    """Build a 2-layer Llama of hidden size 64 in fp32, seeded."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = {
        "vocab_size": WORDS,
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
    """Write the tiny model and its tokenizer to `folder`."""
    model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
