"""What this machine can do for a run: disk, GPU, Hub. And Axolotl's own validation, in a child."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunebook.config.resolved import Resolved
from tunebook.core.environment import environment
from tunebook.core.errors import MachineError
from tunebook.core.paths import runs_folder
from tunebook.hardware import machine
from tunebook.models.hub import reach_hub

FREE_BYTES_TRIAL = 3_000_000_000


def check_machine(resolved: Resolved) -> None:
    """Raise MachineError where this machine cannot run the config: disk, GPU, Hub."""
    runs_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(runs_folder()).free
    if free < FREE_BYTES_TRIAL:
        raise MachineError(
            f"{runs_folder()}: {free / 1e9:.1f} GB free; a run needs 3 GB.", code="machine.disk_full"
        )
    found = len(machine.gpus()) * environment().nodes  # equal nodes of one job
    if resolved.world > max(1, found):
        raise MachineError(
            f"--gpus (GPUS=): this machine has {found} (got {resolved.world}).", code="machine.too_few_gpus"
        )
    if resolved.world == 1 and resolved.config.get("fsdp_version"):
        raise MachineError(
            f"hardware/{resolved.hardware}.yaml shards one model over several GPUs; this run has one. Use "
            "another overlay.",
            code="hardware.needs_gpus",
        )
    base = str(resolved.config["base_model"])
    if Path(base).is_dir():
        return
    reach_hub(base, resolved.config.get("revision_of_model"))
    if resolved.tier == "real" and not machine.gpus():
        raise MachineError(
            "The real tier needs an NVIDIA GPU and none was found. --tier trial (TIER=) needs none.",
            code="machine.no_gpu",
        )
