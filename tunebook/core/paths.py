"""Where things are: the checkout and the one cache folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tunebook.core.environment import ROOT as ROOT  # every package takes it from here
from tunebook.core.environment import environment


def show(path: Path) -> str:
    """Return `path` relative to the checkout where it lies inside it, for messages."""
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


def child_environment() -> dict[str, str]:
    """Return the environment of training and evaluation processes.

    Library caches go below `cache_folder()`, and nothing is reported anywhere unless the environment says so.
    """
    cache = cache_folder()
    defaults = {
        "HF_HOME": str(cache / "huggingface"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "AXOLOTL_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "WANDB_MODE": "disabled",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONFAULTHANDLER": "1",  # Python stacks of a crash or a hang go to the log (core/stacks.py)
    }
    variables = dict(os.environ)
    if variables.pop("PYTHONDONTWRITEBYTECODE", None):
        # Clean folders are wanted; but to compile all that Axolotl imports takes a child ten seconds.
        defaults["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    for name, value in defaults.items():
        variables.setdefault(name, value)
    return variables
