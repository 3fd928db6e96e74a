"""A tiny random Llama with the trial model's real tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.models import trial_model


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(trial_model.ensure())


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
