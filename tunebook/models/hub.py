"""The Hugging Face Hub: its local cache, whether a model can be reached, and its errors in plain words."""

from __future__ import annotations

import os
from pathlib import Path

from tunebook.core.errors import MachineError, Problem
from tunebook.core.paths import child_environment


def cached(base: str, file: str, revision: str | None) -> Path | None:
    """Return `file` of the model `base` in the Hub's local cache, if it is there."""
    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(base, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def reach_hub(base: str, revision: str | None) -> None:
    """Raise MachineError unless `base` is on the Hub and reachable, or already in the Hub's cache."""
    from huggingface_hub import model_info

    if cached(base, "config.json", revision):
        return
    try:
        model_info(base, revision=revision, timeout=15)
    except Exception as error:  # the Hub client lets many connection errors through
        raise hub_error("base_model", repr(base), error) from None


def hub_error(key: str, what: str, error: Exception, instead: str = "use a local folder") -> MachineError:
    """Return the error for a person whose model or dataset could not be read from the Hub.

    Args:
        key: the option or key that names it.
        what: its name, as it is shown.
        instead: what the person can do without the Hub.
    """
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        text = f"the Hub answered {status} for {what}. Check the name; set HF_TOKEN if it is gated."
        return MachineError(Problem(text, key=key, code="hub.refused"))
    text = f"{what} is not in the local cache and the Hub cannot be reached ({type(error).__name__}). "
    return MachineError(
        Problem(f"{text}Connect this machine, or {instead}.", key=key, code="hub.unreachable")
    )
