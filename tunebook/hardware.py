"""What this machine has, and the overlays of hardware keys in hardware/."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from tunebook.errors import InputError, Problem, raise_all
from tunebook.paths import ROOT, show
from tunebook.yaml_lines import read

# The only keys that an overlay may set. They do not enter a run's id: the same run can go on
# on another card.
KEYS = frozenset(
    """attn_implementation bf16 fp16 tf32 flash_attention gradient_checkpointing
    gradient_checkpointing_kwargs group_by_length sample_packing eval_sample_packing pad_to_sequence_len
    lora_mlp_kernel lora_qkv_kernel lora_o_kernel lora_embedding_kernel optimizer
    peft_autocast_adapter_dtype dataset_num_proc dataloader_num_workers dataloader_pin_memory plugins
    micro_batch_size gradient_accumulation_steps eval_batch_size fsdp_version fsdp_config deepspeed
    torch_compile""".split()
)
BF16_WORTH_IT = 1.1
AMPERE, ADA = 8.0, 8.9  # compute capabilities


@cache
def gpus() -> list[dict[str, Any]]:
    """Return name and memory (GiB) of each NVIDIA GPU that the driver shows and CUDA_VISIBLE_DEVICES
    leaves visible; [] without one."""
    import pynvml

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        names = (str(index), pynvml.nvmlDeviceGetUUID(handle))
        if visible is not None and not any(name in names for name in visible.split(",")):
            continue
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        found.append(
            {
                "name": pynvml.nvmlDeviceGetName(handle),
                "gib": round(int(memory) / 2**30, 1),
                "compute_capability": major + minor / 10,
            }
        )
    return found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def facts() -> dict[str, Any]:
    """Return what a report says about the machine."""
    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
        "python": platform.python_version(),
    }


def kind(machine: dict[str, Any]) -> str:
    """Return the machine that `facts` describe as people name it: "2 x NVIDIA H200", or "CPU"."""
    cards = machine["gpus"]
    return f"{len(cards)} x {cards[0]['name']}" if cards else "CPU"


class Machine(BaseModel):
    """What an overlay is for: `gib` is the memory of one card, `gpus` what `make check` pretends."""

    model_config = ConfigDict(extra="forbid")
    gpus: int
    gib: int
    compute_capability: float


@dataclass(frozen=True)
class Overlay:
    """hardware/<name>.yaml: `keys` go on top of a config, `machine` says which cards they are for."""

    name: str
    machine: Machine | None
    keys: dict[str, Any]


def guess() -> str:
    """Return the name of the overlay for this machine's cards; `cpu` without any."""
    found = gpus()
    if not found:
        return "cpu"
    if min(gpu["compute_capability"] for gpu in found) < AMPERE:
        return "t4-16gb"
    memory = min(gpu["gib"] for gpu in found)
    return "80gb" if memory > 70 else "48gb" if memory > 40 else "24gb"


def overlay(name: str) -> Overlay:
    """Return the overlay `name`.

    Raises:
        InputError: no such overlay, or one that sets a key which is not a hardware key.
    """
    path = ROOT / "hardware" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in (ROOT / "hardware").glob("*.yaml")))
        raise InputError(f"HARDWARE: no overlay called {name!r} in hardware/. There are: {there}.")
    value, lines = read(path)
    machine = value.pop("machine", None)
    raise_all(
        [
            Problem("not a hardware key; put it into the recipe.", show(path), lines.get((key,)), key)
            for key in value
            if key not in KEYS
        ]
    )
    if name == "cpu":
        value = {**value, "bf16": cpu_has_fast_bf16()}
    return Overlay(name, Machine.model_validate(machine) if machine else None, value)


def too_much(config: dict[str, Any], capability: float) -> dict[str, str]:
    """Return the keys of a composed config that a card of this compute capability cannot honour.

    bf16, tf32 and flash attention 2 came with Ampere (8.0), fp8 with Ada (8.9), flash attention 3 with
    Hopper (9.0): NVIDIA's CUDA programming guide, and the flash-attention README.
    """
    found = {}
    if capability < AMPERE:
        for key in ("bf16", "tf32"):
            if config.get(key) is True:
                found[key] = f"needs compute capability {AMPERE}; use fp16: true and {key}: false."
        masters = "tunebook.plugins.Float32Weights" in config.get("plugins", [])
        if not config.get("adapter") and config.get("fp16") and not masters:
            found["adapter"] = "full tuning of fp16 weights cannot scale its gradients; add the plugin "
            found["adapter"] += "tunebook.plugins.Float32Weights, or tune an adapter."
    needed = {"flash_attention_2": AMPERE, "flash_attention_3": 9.0}.get(
        config.get("attn_implementation", "")
    )
    if needed and capability < needed:
        found["attn_implementation"] = f"needs compute capability {needed}; use sdpa."
    if config.get("fp8") and capability < ADA:
        found["fp8"] = f"needs compute capability {ADA}."
    return found


def cpu_has_fast_bf16() -> bool:
    """Return whether bf16 is faster than fp32 on this CPU, as measured once with the base model."""
    from tunebook import base_model

    base_model.ensure()
    return base_model.cpu_facts()["bf16_speedup"] > BF16_WORTH_IT
