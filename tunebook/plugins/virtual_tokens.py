"""Virtual tokens in evaluation: a key-value cache that precedes every prompt.

Prompt tuning, p-tuning and prefix tuning leave the base model unchanged and put trained vectors before the
text. Attention is causal, so the layers' outputs for those vectors do not depend on the text. Computed once,
they are a key-value cache with which the plain base model returns the logits of the fine-tuned model, for the
positions of the text only.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache


@torch.inference_mode()
def virtual_cache(model: Any) -> DynamicCache | None:
    """Return the cache of a PeftModel's virtual tokens for one row, or None for a method without them."""
    if not model.active_peft_config.is_prompt_learning:
        return None
    base = model.get_base_model()
    cache = DynamicCache(config=base.config)
    prompt = model.get_prompt(batch_size=1)
    if isinstance(prompt, torch.Tensor):  # input embeddings
        embeddings = prompt.to(device=base.device, dtype=base.dtype)
        base(inputs_embeds=embeddings, past_key_values=cache, use_cache=True, logits_to_keep=1)
    else:  # keys and values of each layer
        for index, layer in enumerate(prompt.layers):
            cache.update(layer.keys, layer.values, index)
    return cache
