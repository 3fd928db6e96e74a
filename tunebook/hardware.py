"""What this machine has, and the overlays of hardware keys in hardware/."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from tunebook.errors import InputError, Problem, raise_all
from tunebook.paths import ROOT, show
from tunebook.yaml_lines import read

# The only keys that an overlay may set. They do not enter a run's id: the same run can go on
# on another card.
KEYS = frozenset(
    """attn_implementation bf16 fp16 tf32 flash_attention gradient_checkpointing
    gradient_checkpointing_kwargs group_by_length sample_packing eval_sample_packing pad_to_sequence_len
    lora_mlp_kernel lora_qkv_kernel lora_o_kernel lora_embedding_kernel optimizer
    peft_autocast_adapter_dtype dataloader_num_workers dataloader_pin_memory plugins
    micro_batch_size gradient_accumulation_steps eval_batch_size fsdp_version fsdp_config deepspeed
    torch_compile""".split()
)
BF16_WORTH_IT = 1.1


@cache
def gpus() -> list[dict[str, Any]]:
    """Return name and memory (GiB) of each NVIDIA GPU that the driver shows; [] without one."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        found.append({"name": pynvml.nvmlDeviceGetName(handle), "gib": round(int(memory) / 2**30, 1)})
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


def overlay(name: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the overlay `name`, or the one for this machine: `cpu` without a GPU, else none.

    Raises:
        InputError: no such overlay, or one that sets a key which is not a hardware key.
    """
    if name is None:
        if gpus():
            return None, {}
        name = "cpu"
    path = ROOT / "hardware" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in (ROOT / "hardware").glob("*.yaml")))
        raise InputError(f"HARDWARE: no overlay called {name!r} in hardware/. There are: {there}.")
    value, lines = read(path)
    raise_all(
        [
            Problem("not a hardware key; put it into the recipe.", show(path), lines.get((key,)), key)
            for key in value
            if key not in KEYS
        ]
    )
    if name == "cpu":
        value = {**value, "bf16": cpu_has_fast_bf16()}
    return name, value


def cpu_has_fast_bf16() -> bool:
    """Return whether bf16 is faster than fp32 on this CPU, as measured once with the base model."""
    from tunebook import base_model

    base_model.ensure()
    return base_model.cpu_facts()["bf16_speedup"] > BF16_WORTH_IT
