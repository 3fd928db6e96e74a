"""Which GPUs CUDA_VISIBLE_DEVICES leaves visible, in all its spellings, and whether the driver hides one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.core.errors import MachineError, Problem

VARIABLE = "CUDA_VISIBLE_DEVICES"
NONE = ("", "-1", "nodevfiles", "none", "void")
DEVICES = ("/dev", "nvidia[0-9]*"), ("/proc/driver/nvidia/gpus", "*")


@dataclass(frozen=True)
class Card:
    """A GPU, or a slice of one (MIG), as the driver describes it."""

    name: str
    uuid: str
    gib: float
    compute_capability: float

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "gib": self.gib, "compute_capability": self.compute_capability}


def words() -> list[str] | None:
    """Return the entries of CUDA_VISIBLE_DEVICES; None where it is not set, [] where it hides every GPU. As
    in CUDA, entries behind a negative number do not count."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    found = []
    for word in (part.strip() for part in text.split(",")):
        if word.lower() in NONE:
            break
        found.append(word)
    return found


def chosen(cards: list[Card], slices: list[Card] | None = None) -> list[Card]:
    """Return those of `cards` (and `slices` of them) that CUDA_VISIBLE_DEVICES names, in its order.

    Raises:
        MachineError: an entry names none of them, or one twice: CUDA would then show fewer or no GPUs at all.
    """
    names = words()
    if names is None:
        return cards
    found: list[Card] = []
    for name in names:
        if name.isdecimal():
            matching = cards[int(name) : int(name) + 1]
        elif name.upper().startswith(("GPU-", "MIG-")):
            pool = cards if name.upper().startswith("GPU-") else slices or []
            matching = [card for card in pool if card.uuid.lower().startswith(name.lower())]
        else:
            matching = []
        if len(matching) != 1 or matching[0] in found:
            there = ", ".join(f"{index} or {card.uuid}" for index, card in enumerate(cards))
            there += "".join(f", {card.uuid}" for card in slices or [])
            why = "is named twice" if matching and matching[0] in found else "names no GPU of this machine"
            text = f"{name!r} {why} (got {os.environ[VARIABLE]!r}). There are: {there or 'none'}. Numbers or "
            text += "UUIDs with commas between them; empty hides all."
            raise MachineError(Problem(text, key=VARIABLE, code="machine.bad_visible_devices"))
        found.append(matching[0])
    return found


def device_files() -> list[str]:
    """Return the files by which Linux shows NVIDIA GPUs, also where the driver's library does not work."""
    return sorted(str(path) for folder, pattern in DEVICES for path in Path(folder).glob(pattern))


def broken_driver(error: Exception) -> MachineError | None:
    """Return the error for a machine whose driver does not answer though a GPU is there; None without one."""
    files = device_files()
    if not files:
        return None
    text = f"the NVIDIA driver does not answer ({error}), and a GPU is here ({files[0]}). `nvidia-smi` says "
    text += "more; after an update of the driver the machine must be restarted. To go on without a GPU, set "
    text += f"{VARIABLE} to nothing."
    return MachineError(Problem(text, code="machine.driver_broken"))
