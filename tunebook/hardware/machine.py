"""What this machine has, and the overlays of hardware keys in hardware/."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import psutil


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
    cards = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        names = (str(index), pynvml.nvmlDeviceGetUUID(handle))
        if visible is not None and not any(name in names for name in visible.split(",")):
            continue
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        cards.append(
            {
                "name": pynvml.nvmlDeviceGetName(handle),
                "gib": round(int(memory) / 2**30, 1),
                "compute_capability": major + minor / 10,
            }
        )
    return cards


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
