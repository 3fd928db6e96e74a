"""The hardware of this machine."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import cache
from typing import Any

import psutil

from tunebook.core import visible
from tunebook.hardware import cpu_speed


@cache
def gpus() -> list[dict[str, Any]]:
    """Return name and memory (GiB) of each NVIDIA GPU that CUDA_VISIBLE_DEVICES leaves visible, in its order;
    [] without a GPU.

    Raises:
        MachineError: the driver of a GPU does not respond, or CUDA_VISIBLE_DEVICES names a GPU that this
            machine does not have.
    """
    import pynvml

    if visible.words() == []:
        return []  # hidden on purpose, so the driver is not queried
    try:
        pynvml.nvmlInit()
        cards, slices = [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            cards.append(_card(pynvml, handle, handle))
            slices += [_card(pynvml, part, handle) for part in _slices(pynvml, handle)]
    except pynvml.NVMLError as error:
        if broken := visible.broken_driver(error):
            raise broken from None
        cards, slices = [], []
    if visible.words() and not cards:
        return []  # the variable was left over from another machine
    if slices and visible.words() is None:
        return [slices[0].facts()]  # CUDA then shows only the first slice
    return [card.facts() for card in visible.chosen(cards, slices)]


def _card(pynvml: Any, handle: Any, whole: Any) -> visible.Card:
    """Return the GPU of an NVML handle; for a MIG slice, `whole` is the GPU it belongs to."""
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(whole)
    memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
    return visible.Card(str(name), str(uuid), round(memory / 2**30, 1), major + minor / 10)


def _slices(pynvml: Any, handle: Any) -> list[Any]:
    """Return the MIG slices of a GPU."""
    try:
        if not pynvml.nvmlDeviceGetMigMode(handle)[0]:
            return []
        most = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (pynvml.NVMLError, AttributeError):  # the GPU or the driver does not support MIG
        return []
    found = []
    for index in range(most):
        with contextlib.suppress(pynvml.NVMLError):  # indices without a slice
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return found


def why_no_gpu() -> str:
    """Return why `gpus` is empty, for use in a sentence: hidden or not present."""
    if visible.words() == []:
        return f"{visible.VARIABLE}={os.environ[visible.VARIABLE]!r} hides every GPU"
    return "no GPU found"


def facts() -> dict[str, Any]:
    """Return the facts about this machine that reports show."""
    return {
        "cpu": cpu_speed.name(),
        "cores": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
        "python": platform.python_version(),
    }


def kind(machine: dict[str, Any]) -> str:
    """Return a short name for the machine described by `facts`: "2 x NVIDIA H200", or "CPU"."""
    cards = machine["gpus"]
    return f"{len(cards)} x {cards[0]['name']}" if cards else "CPU"


def full_name(machine: dict[str, Any]) -> str:
    """Return a name for the machine described by `facts` that includes its CPU if it has no GPU: "2 x NVIDIA
    H200", or "AMD EPYC, 2 cores"."""
    return kind(machine) if machine["gpus"] else f"{machine['cpu']}, {machine['cores']} cores"
