"""The Hugging Face Hub: its local cache, whether a model can be reached, and its errors in plain words."""

from __future__ import annotations

import os
from pathlib import Path

from tunebook.core.errors import MachineError
from tunebook.core.paths import child_environment


def cached(base: str, file: str, revision: str | None) -> Path | None:
    """Return `file` of the model `base` in the Hub's local cache, if it is there."""
    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def reach_hub(base: str, revision: str | None) -> None:
    """Raise MachineError unless `base` is on the Hub and reachable, or already in the Hub's cache."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError

    if cached(base, "config.json", revision):
        return
    try:
        model_info(base, revision=revision, timeout=15)
    except HfHubHTTPError as error:
        raise MachineError(
            f"base_model: the Hub answered {error.response.status_code} for {base!r}. Check the name, "
            "and HF_TOKEN if the model is gated."
        ) from None
    except Exception as error:  # the Hub client lets many connection errors through
        raise MachineError(
            f"base_model: {base!r} is not in the local cache and the Hub cannot be reached "
            f"({type(error).__name__}). Connect this machine, or give base_model a local folder."
        ) from None
