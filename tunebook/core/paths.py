"""Paths: the checkout and the one cache folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tunebook.core.environment import ROOT as ROOT  # every package imports it from here
from tunebook.core.environment import environment
from tunebook.core.ranks import without_launchers


def show(path: Path) -> str:
    """Return `path` for messages: relative to the checkout if it is inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def recipes_folder() -> Path:
    return environment().recipes


def slug(text: str) -> str:
    """Return `text` as part of a file name: lower-case letters and digits, a hyphen for anything else."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def runs_folder() -> Path:
    return environment().runs


def cache_folder() -> Path:
    """Return the only folder outside the checkout that Tunebook writes to (`TUNEBOOK_CACHE`)."""
    # Absolute, because child processes run in ROOT.
    return environment().cache.absolute()


def child_environment(tracked: bool = False, nodes: int = 1) -> dict[str, str]:
    """Return the environment for training and evaluation processes.

    Caches of libraries are placed below `cache_folder()`. Nothing is reported to Weights & Biases unless the
    config enables it (`tracked`) or the environment sets WANDB_MODE. Variables left behind by launchers are
    removed.
    """
    cache = cache_folder()
    defaults = {
        "HF_HOME": str(cache / "huggingface"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "NLTK_DATA": str(cache / "nltk"),
        "AXOLOTL_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # by which `evaluate`, which the harness uses, asks S3
        "TOKENIZERS_PARALLELISM": "false",
        # Python stacks of a crash or a hang are written to the log (training/stacks.py)
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUTF8": "1",
        # Large tensors of a CPU run get huge pages: without, a fifth of a training goes into page faults.
        "THP_MEM_ALLOC_ENABLE": "1",
        # How long a thread of torch's libgomp stays awake to wait for the others. Its default is so long that
        # one busy program beside the training makes a step many times slower; a much shorter wait costs time
        # on an idle machine.
        "GOMP_SPINCOUNT": "10000",
        # Libraries look both up; a user in a container may have neither a home nor a name.
        "HOME": str(cache),
        "USER": str(os.getuid()),
    }
    if not tracked:
        defaults["WANDB_MODE"] = "disabled"
    variables = without_launchers(dict(os.environ), nodes)
    if variables.pop("PYTHONDONTWRITEBYTECODE", None):
        # We want no __pycache__ in the checkout, but compiling all that Axolotl imports takes a child ten
        # seconds.
        defaults["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    if "OMP_WAIT_POLICY" in variables:
        del defaults["GOMP_SPINCOUNT"]  # which takes precedence over it
    for name, value in defaults.items():
        variables.setdefault(name, value)
    return variables
