"""The settings of a resolved Axolotl config that determine memory and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunebook.core.files import AxolotlConfig

Sharding = Literal["one GPU", "ddp", "fsdp2", "zero1", "zero2", "zero3", "offload"]
SHARDINGS: tuple[Sharding, ...] = ("ddp", "zero1", "zero2", "zero3", "fsdp2", "offload")


@dataclass(frozen=True)
class Setting:
    """The settings of a config that determine memory. `tokens` is the padded length of a row; `pairs` says
    that a row is two sequences, which a reference model processes as well."""

    rows: int
    tokens: int
    accumulate: bool
    weights: Literal["bf16", "fp16", "fp32", "4bit", "8bit"] = "bf16"
    rank: int | None = None
    adapted_layers: int | None = None
    adapter_fp32: bool = True
    optimizer: str = "adamw_torch_fused"
    attention: Literal["flash", "varlen", "eager"] = "flash"
    checkpointing: bool = False
    offloaded: bool = False
    fused_loss: bool = False
    chunked_loss: bool = False
    fused_norm: bool = False
    fused_mlp: bool = False
    lora_mlp: bool = False
    lora_qkv: bool = False
    lora_o: bool = False
    compiled: bool = False
    pairs: bool = False

    @property
    def sequences(self) -> int:
        """Number of sequences in a micro batch."""
        return self.rows * (2 if self.pairs else 1)

    @property
    def wide(self) -> int:
        """Bytes per element of the residual stream, which has the dtype of the embedding."""
        return 4 if self.weights == "fp32" else 2


def setting(config: AxolotlConfig, longest: int | None = None) -> Setting:
    """Extract the settings that determine memory from a resolved Axolotl config, as it would run on a GPU.

    Args:
        longest: tokens of the longest row, if rows are known and not padded to `sequence_len`.
    """
    length = config.get("sequence_len", 512)
    filled = config.get("sample_packing") or config.get("pad_to_sequence_len")
    adapter = config.get("adapter")
    plugins = config.get("plugins") or []
    liger = "axolotl.integrations.liger.LigerPlugin" in plugins
    sharded = (config.get("fsdp_config") or {}).get("activation_checkpointing")
    checkpointing = config.get("gradient_checkpointing") or sharded
    master = "tunebook.plugins.Float32Weights" in plugins
    half: Literal["bf16", "fp16", "fp32"] = (
        "bf16" if config.get("bf16") else "fp16" if config.get("fp16") else "fp32"
    )
    four, eight = config.get("load_in_4bit"), config.get("load_in_8bit")
    pairs = bool(config.get("rl"))
    on = lora_kernels(config)
    layers = config.get("peft_layers_to_transform")
    return Setting(
        rows=config.get("micro_batch_size", 1),
        tokens=length if filled or longest is None else min(longest, length),
        accumulate=config.get("gradient_accumulation_steps", 1) > 1,
        weights="4bit" if four else "8bit" if eight else "fp32" if master else half,
        rank=config.get("lora_r", 8) if adapter else None,
        adapted_layers=len(layers) if isinstance(layers, list) else None,
        adapter_fp32=config.get("peft_autocast_adapter_dtype") is not False,
        optimizer=str(config.get("optimizer", "adamw_torch_fused")),
        attention=_attention(config),
        checkpointing=bool(checkpointing),
        offloaded=bool(config.get("activation_offloading")),
        fused_loss=liger and bool(config.get("liger_fused_linear_cross_entropy")),
        chunked_loss=bool(config.get("chunked_cross_entropy")),
        fused_norm=liger and bool(config.get("liger_rms_norm")),
        fused_mlp=liger and bool(config.get("liger_glu_activation")),
        lora_mlp=on["lora_mlp_kernel"],
        lora_qkv=on["lora_qkv_kernel"],
        lora_o=on["lora_o_kernel"],
        compiled=bool(config.get("torch_compile")),
        pairs=pairs,
    )


def lora_kernels(config: AxolotlConfig) -> dict[str, bool]:
    """Return each of Axolotl's LoRA kernels with whether it is on: Axolotl enables all of them if the config
    names none."""
    adapter, named = (
        config.get("adapter"),
        [f"lora_{part}_kernel" for part in ("mlp", "qkv", "o", "embedding")],
    )
    kernels = adapter in ("lora", "qlora") and not any(key in config for key in named)
    kernels = kernels and not (config.get("load_in_8bit") or config.get("rl"))
    return {key: bool(adapter) and bool(config.get(key, kernels)) for key in named}


def _attention(config: AxolotlConfig) -> Literal["flash", "varlen", "eager"]:
    name = config.get("attn_implementation")
    if name == "eager":
        return "eager"
    # For packed rows, Axolotl replaces sdpa with torch's varlen_attn.
    return "varlen" if name == "sdpa" and config.get("sample_packing") else "flash"


def sharding(config: AxolotlConfig, count: int) -> Sharding:
    """Return how a config shards a model over `count` GPUs, by Axolotl's own keys."""
    if config.get("fsdp_version") or config.get("fsdp_config"):
        return "offload" if (config.get("fsdp_config") or {}).get("offload_params") else "fsdp2"
    deepspeed = str(config.get("deepspeed") or "")
    for stage in ("zero1", "zero2", "zero3"):
        if stage in deepspeed:
            return "offload" if "offload" in deepspeed else stage
    return "one GPU" if count == 1 else "ddp"
