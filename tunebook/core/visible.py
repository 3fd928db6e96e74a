"""Which GPUs CUDA_VISIBLE_DEVICES leaves visible, in all its formats, and whether a broken driver hides
one."""

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
    """A GPU or a slice of one (MIG), as described by the driver."""

    name: str
    uuid: str
    gib: float
    compute_capability: float

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "gib": self.gib, "compute_capability": self.compute_capability}


def words() -> list[str] | None:
    """Return the entries of CUDA_VISIBLE_DEVICES: None if it is not set, [] if it hides every GPU. As in
    CUDA, entries after a negative number are ignored."""
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
    """Return the `cards` (and `slices` of them) that CUDA_VISIBLE_DEVICES names, in its order.

    Raises:
        MachineError: an entry names no GPU, or one GPU twice: CUDA would then show fewer GPUs or none.
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
            why = "is named twice" if matching and matching[0] in found else "is not a GPU of this machine"
            text = f"{name!r} {why} (got {os.environ[VARIABLE]!r}). Available: {there or 'none'}. Give "
            text += "numbers or UUIDs separated by commas; an empty value hides all GPUs."
            raise MachineError(Problem(text, key=VARIABLE, code="machine.bad_visible_devices"))
        found.append(matching[0])
    return found


def device_files() -> list[str]:
    """Return the device files of NVIDIA GPUs, which Linux lists even if the driver does not work."""
    return sorted(str(path) for folder, pattern in DEVICES for path in Path(folder).glob(pattern))


def broken_driver(error: Exception) -> MachineError | None:
    """Return the error for a machine whose GPU driver does not respond; None if it has no GPU."""
    files = device_files()
    if not files:
        return None
    text = (
        f"this machine has a GPU ({files[0]}), but its driver does not respond ({error}). Run `nvidia-smi` "
        "for details; after a driver update the machine must be restarted. To run without a GPU, set "
        f"{VARIABLE} to an empty value."
    )
    return MachineError(Problem(text, code="machine.driver_broken"))
