"""Config keys that need a newer GPU than the one at hand."""

from __future__ import annotations

from tunebook.core.files import AxolotlConfig

AMPERE, ADA = 8.0, 8.9  # compute capabilities


def too_much(config: AxolotlConfig, capability: float) -> dict[str, str]:
    """Return the keys of a composed config that a GPU of this compute capability does not support.

    bf16, tf32 and flash attention 2 came with Ampere (8.0), fp8 with Ada (8.9), flash attention 3 with Hopper
    (9.0): NVIDIA's CUDA programming guide, and the flash-attention README.
    """
    problems = {}
    if capability < AMPERE:
        for key in ("bf16", "tf32"):
            if config.get(key) is True:
                problems[key] = f"needs compute capability {AMPERE}; use fp16: true and {key}: false."
        masters = "tunebook.plugins.Float32Weights" in config.get("plugins", [])
        if not config.get("adapter") and config.get("fp16") and not masters:
            problems["adapter"] = (
                "gradient scaling does not work for full fine-tuning of fp16 weights; add the plugin "
            )
            problems["adapter"] += "tunebook.plugins.Float32Weights, or train an adapter."
    needed = {"flash_attention_2": AMPERE, "flash_attention_3": 9.0}.get(
        config.get("attn_implementation", "")
    )
    if needed and capability < needed:
        problems["attn_implementation"] = f"needs compute capability {needed}; use sdpa."
    if config.get("fp8") and capability < ADA:
        problems["fp8"] = f"needs compute capability {ADA}."
    return problems
