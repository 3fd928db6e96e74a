"""LoftQ for QLoRA, as an Axolotl plugin: the adapter is initialized from the quantization error of the base
model.

PEFT's own `init_lora_weights: loftq` quantizes a full-precision model again and changes its weights, so that
the adapter does not fit the published model. Here, bitsandbytes has already quantized the base model, and it
stays unchanged, as in `peft.replace_lora_weights_loftq`, which needs CUDA and ignores LoRA's scale.
"""

from __future__ import annotations

from typing import Any

import torch
from axolotl.integrations.base import BasePlugin


class LoftQ(BasePlugin):
    """Initialize each LoRA layer with the best approximation of its layer's 4-bit quantization error (Li et
    al. 2023, arXiv 2310.08659, one round). A resumed adapter (`lora_model_dir`) keeps its weights."""

    def post_lora_load(self, cfg: Any, model: Any) -> None:
        if cfg.lora_model_dir:
            return
        from transformers import AutoModelForCausalLM

        whole = AutoModelForCausalLM.from_pretrained(
            cfg.base_model, revision=cfg.revision_of_model or "main", trust_remote_code=cfg.trust_remote_code
        )
        make_up(model, {name.removesuffix(".weight"): weight for name, weight in whole.named_parameters()})


@torch.no_grad()
def make_up(model: Any, before: dict[str, torch.Tensor]) -> None:
    """Set the LoRA weights of the PEFT model `model` so that each 4-bit layer plus its LoRA is as close as
    their rank allows (Eckart and Young) to the weights `before` quantization, named as in the base model.

    Raises:
        ValueError: no 4-bit layer has a LoRA.
    """
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import Linear4bit

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Linear4bit)]
    if not layers:
        raise ValueError("LoftQ needs LoRA on 4-bit layers (adapter: qlora, load_in_4bit: true).")
    for name, layer in layers:
        stored = layer.get_base_layer().weight
        kept = dequantize_4bit(stored.data, stored.quant_state).float()
        lost = before[name.removeprefix("base_model.model.")].to(kept) - kept
        left, values, right = torch.linalg.svd(lost, full_matrices=False)
        for adapter, rank in layer.r.items():
            root = (values[:rank] / layer.scaling[adapter]).sqrt()
            layer.lora_A[adapter].weight.copy_(root[:, None] * right[:rank])
            layer.lora_B[adapter].weight.copy_(left[:, :rank] * root)
