"""A real-tier config as a CPU can train it, and the list of what that switches off.

`hardware/cpu.yaml`, which the trial tier uses for speed, says what a CPU needs. Of its keys, only those are
applied whose value in the real config no CPU can run; what a CPU runs slowly (packing, gradient
checkpointing) stays as it is. Keys that no overlay may set (Liger's kernels, DeepSpeed) are switched off too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tunebook.core.files import AxolotlConfig
from tunebook.hardware import memory_settings, overlays

AUTOMATIC = "on by default"  # the value of a key that Axolotl switches on by itself
# A CPU runs these values; for the other keys of the overlay, any value of the config is replaced.
RUNS: dict[str, frozenset[Any]] = {
    "attn_implementation": frozenset({None, "eager", "sdpa"}),
    "gradient_checkpointing": frozenset({None, False, True}),
    "optimizer": frozenset(
        {None, "adamw_torch", "adamw_torch_fused", "adafactor", "adagrad", "sgd", "rmsprop"}
    ),
}
# What to use where a CPU does not run the config's value, if not the overlay's value.
INSTEAD = {"attn_implementation": "sdpa", "gradient_checkpointing": True}
# The overlay sets these for speed only.
KEPT = frozenset({"group_by_length", "sample_packing", "pad_to_sequence_len", "peft_autocast_adapter_dtype"})
# Axolotl's keys for kernels, precisions and placements that only GPUs have, other than those of the overlay.
GPU_ONLY = re.compile(
    r"(deepspeed|deepcompile|fsdp|torch_compile|fp8|flash|ddp|tensor_parallel|context_parallel|expert_parallel|"
    r"sequence_parallel|data_parallel|dp_shard|dp_replicate|unsloth|dsv4)(_.*|$)|"
    r"(xformers|flex|sage|s2)_attention|flex_attn_compile_kwargs|load_in_8bit|gptq|cut_cross_entropy(_.*)?|tiled_mlp(_.*)?|device_map|"
    r"max_memory|gpu_memory_limit|activation_offloading|layer_offloading|ple_cpu_offload|gemma4_fp8_nonexpert|use_kernels|use_scattermoe|use_sonicmoe|"
    r"use_\w+_kernels|fused_attn_kernel|sdpa_varlen|quantize_moe_experts|qat|quantization|use_vllm|vllm"
)
LIGER = re.compile(r"liger_.*|use_liger_loss|dpo_use_liger_kernel")


@dataclass(frozen=True)
class Switched:
    """A key of the real config that does not apply on a CPU: its value there, and what stands in (None: the
    key is absent)."""

    key: str
    value: Any
    here: Any

    def __str__(self) -> str:
        return f"{self.key} ({_word(self.value)}; here {_word(self.here)})"


def _word(value: Any) -> str:
    """Return a value of YAML for a sentence."""
    if value in (None, False):
        return "off"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "set" if isinstance(value, dict | list) or len(text) > 40 else text


def for_cpu(config: AxolotlConfig) -> tuple[AxolotlConfig, list[Switched]]:
    """Return a real-tier `config` as a CPU trains it in fp32, and each key that this switches, in the order
    of their names."""
    overlay = overlays.overlay(overlays.CPU, measured=False).keys
    result = dict(config)
    for key, value in overlay.items():
        if key in KEPT or key == "plugins":
            continue
        if key in RUNS:
            if config.get(key) not in RUNS[key]:
                result[key] = INSTEAD.get(key, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    for key, value in config.items():
        if LIGER.fullmatch(key) and value is True:
            result[key] = False  # as the trial tier does: the plugin stays, and does nothing
        elif LIGER.fullmatch(key) or GPU_ONLY.fullmatch(key):
            result.pop(key, None)
    result["plugins"] = list(dict.fromkeys([*config.get("plugins", []), *overlay["plugins"]]))
    switched = [
        Switched(key, config[key], result.get(key))
        for key in config
        if key != "plugins" and config[key] not in (None, False, result.get(key))
    ]
    kernels = memory_settings.lora_kernels(config)
    switched += [Switched(key, AUTOMATIC, False) for key, on in kernels.items() if on and key not in config]
    return result, sorted(switched, key=lambda one: one.key)
