"""What this machine can do for a run: disk, GPU, Hub. And Axolotl's own validation, in a child."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from tunebook.config.resolved import Resolved
from tunebook.core.environment import environment
from tunebook.core.errors import MachineError, Problem
from tunebook.core.paths import runs_folder
from tunebook.hardware import machine
from tunebook.models.hub import reach_hub
from tunebook.training import trackers

FREE_BYTES_TRIAL = 3_000_000_000
FREE_BYTES_SCRATCH = 100_000_000


def check_machine(resolved: Resolved) -> None:
    """Raise MachineError where this machine cannot run the config: disk, GPU, Hub."""
    runs_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(runs_folder()).free
    if free < FREE_BYTES_TRIAL:
        raise MachineError(
            f"{runs_folder()}: {free / 1e9:.1f} GB free; a run needs 3 GB.", code="machine.disk_full"
        )
    check_scratch()
    _packages()
    refused = trackers.problems(resolved.config)
    if refused:
        raise MachineError("\n".join(map(str, refused)), problems=refused)
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
    if machine.gpus() and "+cpu" in importlib.metadata.version("torch"):
        raise MachineError(
            "this machine has a GPU, and the installed torch is for CPUs only: the run would be on the CPU. "
            'Install torch anew: UV_TORCH_BACKEND=auto make setup; or hide the GPU: CUDA_VISIBLE_DEVICES="".',
            code="machine.cpu_torch",
        )
    base = str(resolved.config["base_model"])
    if Path(base).is_dir():
        return
    reach_hub(base, resolved.config.get("revision_of_model"))
    if resolved.tier == "real" and not machine.gpus():
        raise MachineError(
            f"The real tier needs an NVIDIA GPU: {machine.why_no_gpu()}. --tier trial (TIER=) needs none.",
            code="machine.no_gpu",
        )


def check_scratch() -> None:
    """Raise MachineError where temporary files cannot be written."""
    wanted = os.environ.get("TMPDIR")
    if wanted and not Path(wanted).is_dir():
        text = f"no such folder (got {wanted!r}). Make it, or unset the variable."
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch"))
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        text = f"no folder for temporary files can be written ({error}). Set it to one."
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch")) from None
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_SCRATCH:
        text = f"{free / 1e6:.0f} MB free in {folder}; 100 MB are needed. Set it to a folder with more."
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch"))


def _packages() -> None:
    """Raise MachineError where PYTHONPATH puts another package in place of one that the lock pins."""
    folders = [Path(part).resolve() for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    for name in ("torch", "transformers", "peft", "datasets", "accelerate", "trl", "axolotl"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin and any(origin.is_relative_to(folder) for folder in folders):
            text = (
                f"{name} would be imported from {origin.parent}, not as requirements.lock pins it. Unset it."
            )
            raise MachineError(Problem(text, key="PYTHONPATH", code="machine.other_package"))
