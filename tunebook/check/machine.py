"""What this machine can do for a run: disk, GPU, Hub. Also Axolotl's own validation, in a child process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sysconfig
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
OWN_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()


def check_machine(resolved: Resolved, cpu_by_name: bool = False) -> None:
    """Raise MachineError if this machine cannot run the config: disk, GPU, Hub.

    Args:
        cpu_by_name: whether the user chose the overlay `cpu`, and so knows that there is no GPU.
    """
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
    found = len(machine.gpus()) * environment().nodes  # the machines of a job are equal
    if resolved.world > max(1, found):
        raise MachineError(
            f"--gpus (GPUS=): this machine has {found} (got {resolved.world}).", code="machine.too_few_gpus"
        )
    if resolved.world == 1 and resolved.config.get("fsdp_version"):
        raise MachineError(
            f"hardware/{resolved.hardware}.yaml shards the model over several GPUs, but this run has one "
            "GPU. Use another overlay.",
            code="hardware.needs_gpus",
        )
    if machine.gpus() and "+cpu" in importlib.metadata.version("torch"):
        raise MachineError(
            "this machine has a GPU, but the installed torch is the CPU version: the run would not use it. "
            'Reinstall torch: UV_TORCH_BACKEND=auto make setup; or hide the GPU: CUDA_VISIBLE_DEVICES="".',
            code="machine.cpu_torch",
        )
    base = str(resolved.config["base_model"])
    if Path(base).is_dir():
        return
    reach_hub(base, resolved.config.get("revision_of_model"))
    if resolved.tier == "real" and not machine.gpus() and not cpu_by_name:
        raise MachineError(
            f"The real tier needs an NVIDIA GPU: {machine.why_no_gpu()}. Use --tier trial (TIER=), which "
            "needs no GPU. A small base model also trains on a CPU: --hardware cpu (HARDWARE=).",
            code="machine.no_gpu",
        )


def check_scratch() -> None:
    """Raise MachineError if temporary files cannot be written."""
    wanted = os.environ.get("TMPDIR")
    if wanted and not Path(wanted).is_dir():
        text = f"no such folder (got {wanted!r}). Create it, or unset the variable."
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch"))
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        text = f"no writable folder for temporary files ({error}). Set the variable to a writable folder."
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch")) from None
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_SCRATCH:
        text = (
            f"{free / 1e6:.0f} MB free in {folder}; 100 MB are needed. Set the variable to a folder with "
            "more free space."
        )
        raise MachineError(Problem(text, key="TMPDIR", code="machine.no_scratch"))


def _packages() -> None:
    """Raise MachineError if PYTHONPATH replaces a package pinned by the lock file."""
    folders = [Path(part).resolve() for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    for name in ("torch", "transformers", "peft", "datasets", "accelerate", "trl", "axolotl"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        # The folder that holds the package: a clone on PYTHONPATH has .venv below it, which replaces nothing.
        if origin and origin.parents[1] in folders and origin.parents[1] != OWN_PACKAGES:
            text = (
                f"{name} would be imported from {origin.parent} instead of the version pinned in "
                "requirements.lock. Unset the variable."
            )
            raise MachineError(Problem(text, key="PYTHONPATH", code="machine.other_package"))
