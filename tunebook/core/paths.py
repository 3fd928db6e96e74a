"""Where things are: the checkout and the one cache folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tunebook.core.environment import ROOT as ROOT  # every package takes it from here
from tunebook.core.environment import environment
from tunebook.core.ranks import without_launchers


def show(path: Path) -> str:
    """Return `path` relative to the checkout if it is inside it, for messages."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def recipes_folder() -> Path:
    return environment().recipes


def slug(text: str) -> str:
    """Return `text` as a part of a file name: small letters and digits, anything else a hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def runs_folder() -> Path:
    return environment().runs


def cache_folder() -> Path:
    """Return the only folder outside the checkout that Tunebook writes to (`TUNEBOOK_CACHE`)."""
    # Absolute, since children run in ROOT.
    return environment().cache.absolute()


def child_environment(tracked: bool = False, nodes: int = 1) -> dict[str, str]:
    """Return the environment of training and evaluation processes.

    Library caches go below `cache_folder()`. Nothing is reported to Weights & Biases unless the config asks
    for it (`tracked`) or the environment says how (WANDB_MODE). What launchers left behind is left out.
    """
    cache = cache_folder()
    defaults = {
        "HF_HOME": str(cache / "huggingface"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "AXOLOTL_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONFAULTHANDLER": "1",  # Python stacks of a crash or a hang go to the log (core/stacks.py)
        "PYTHONUTF8": "1",
        # Libraries ask for them; a container's user has neither a home nor a name.
        "HOME": str(cache),
        "USER": str(os.getuid()),
    }
    if not tracked:
        defaults["WANDB_MODE"] = "disabled"
    variables = without_launchers(dict(os.environ), nodes)
    if variables.pop("PYTHONDONTWRITEBYTECODE", None):
        # Clean folders are wanted; but to compile all that Axolotl imports takes a child ten seconds.
        defaults["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    for name, value in defaults.items():
        variables.setdefault(name, value)
    return variables
