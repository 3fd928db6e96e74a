"""The overlays in hardware/: keys for one kind of machine that override a recipe's config."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import ROOT, show
from tunebook.core.yaml_file import read_yaml
from tunebook.hardware import cpu_speed, machine
from tunebook.hardware.capabilities import AMPERE

# The only keys that an overlay may set. They are not part of a run's id, so the same run can be resumed on
# another GPU.
KEYS = frozenset(
    """attn_implementation bf16 fp16 tf32 flash_attention gradient_checkpointing
    gradient_checkpointing_kwargs group_by_length sample_packing eval_sample_packing pad_to_sequence_len
    lora_mlp_kernel lora_qkv_kernel lora_o_kernel lora_embedding_kernel optimizer
    peft_autocast_adapter_dtype dataset_num_proc dataloader_num_workers dataloader_pin_memory plugins
    micro_batch_size gradient_accumulation_steps eval_batch_size fsdp_version fsdp_config deepspeed
    torch_compile""".split()
)


CPU = "cpu"
LONG_ON_CPU = 1024  # tokens


class Machine(BaseModel):
    """The machine an overlay is for: `gib` is the memory of one GPU, `gpus` the number that `make check`
    assumes."""

    model_config = ConfigDict(extra="forbid")
    gpus: int
    gib: int
    compute_capability: float


@dataclass(frozen=True)
class Overlay:
    """hardware/<name>.yaml: `keys` override those of a config, `machine` says which GPUs they are for."""

    name: str
    machine: Machine | None
    keys: AxolotlConfig


def guess() -> str:
    """Return the name of the overlay for this machine's GPUs; `cpu` without a GPU."""
    gpus = machine.gpus()
    if not gpus:
        return CPU
    if min(gpu["compute_capability"] for gpu in gpus) < AMPERE:
        return "t4-16gb"
    memory = min(gpu["gib"] for gpu in gpus)
    return "80gb" if memory > 70 else "48gb" if memory > 40 else "24gb"


def overlay(name: str, measured: bool = True) -> Overlay:
    """Return the overlay `name`; that of the CPU with the precision that was `measured` to be faster.

    Raises:
        InputError: no such overlay, or it sets a key that is not a hardware key.
    """
    path = ROOT / "hardware" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in (ROOT / "hardware").glob("*.yaml")))
        text = f"no overlay {name!r} in hardware/. Available: {there}."
        raise InputError(Problem(text, key="HARDWARE", code="hardware.unknown_overlay"))
    value, lines = read_yaml(path)
    cards = value.pop("machine", None)
    raise_all(
        [
            Problem(
                "not a hardware key. Put it into the recipe.",
                show(path),
                lines.get((key,)),
                key,
                code="hardware.not_overlay_key",
            )
            for key in value
            if key not in KEYS
        ]
    )
    if name == CPU and measured:
        value = {**value, "bf16": cpu_speed.has_fast_bf16()}
    return Overlay(name, Machine.model_validate(cards) if cards else None, value)


def for_long_rows(config: AxolotlConfig) -> AxolotlConfig:
    """Return the keys with which long rows fit the memory of a machine without a GPU. Eager attention keeps a
    matrix of tokens times tokens for each head and layer: one row of 4,000 tokens took SmolLM2-135M more than
    21 GiB."""
    if int(config.get("sequence_len") or 0) <= LONG_ON_CPU:
        return {}
    return {"attn_implementation": "sdpa", "gradient_checkpointing": True}
