"""Models that a person names: a folder, or an id on the Hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tunebook.core.errors import InputError, MachineError
from tunebook.core.paths import cache_folder, show

WEIGHTS = ("adapter_config.json", "config.json")
TAKEN = ("base", "tuned", "unmerged", "svm", "endpoint")
WANTED = ["*.safetensors*", "*.json", "*.jinja", "*.txt", "*.model"]


def model_folder(model: str, said_in: str) -> Path:
    """Return the local folder of `model`, downloaded from the Hub where it is an id.

    Args:
        said_in: the variable or key that names the model, for the messages.

    Raises:
        InputError: neither a folder nor an id, no such model, or a folder that holds none.
        MachineError: the Hub is needed and cannot be reached.
    """
    path = Path(model)
    if not path.is_dir():
        if path.is_absolute() or model.count("/") != 1:
            raise InputError(f"{said_in}: {model!r} is neither a folder nor a Hub id (owner/name).")
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            hub = cache_folder() / "huggingface" / "hub"
            path = Path(snapshot_download(model, allow_patterns=WANTED, cache_dir=hub))
        except RepositoryNotFoundError:
            raise InputError(f"{said_in}: the Hub has no model {model!r}.") from None
        except Exception as error:  # the Hub client lets many connection errors through
            raise MachineError(
                f"{said_in}: {model!r} is not in the local cache and the Hub cannot be reached "
                f"({type(error).__name__}). Connect this machine, or name a folder."
            ) from None
    if not any((path / name).is_file() for name in WEIGHTS):
        raise InputError(f"{said_in}: {show(path)}: holds neither {' nor '.join(WEIGHTS)}.")
    return path


def ask_beside(models: list[str], said_in: str) -> None:
    """Check that each of `models` can be asked beside the tuned one: full weights with a chat template.

    Raises:
        InputError, MachineError: what `model_folder` raises, and a model that cannot be asked.
    """
    names = [contender_name(model) for model in models]
    for model, name in zip(models, names, strict=True):
        if names.count(name) > 1 or name in TAKEN:
            raise InputError(f"{said_in}: {model}: the table has another {name!r}. Rename the folder.")
        folder = model_folder(model, said_in)
        if (folder / "adapter_config.json").is_file():
            raise InputError(f"{said_in}: {model}: an adapter. Merge it first: axolotl merge-lora.")
        settings = folder / "tokenizer_config.json"
        inline = settings.is_file() and "chat_template" in json.loads(settings.read_text("utf-8"))
        if not (inline or (folder / "chat_template.jinja").is_file()):
            raise InputError(
                f"{said_in}: {model}: its tokenizer has no chat template, so it cannot be asked."
            )


def contender_name(model: str) -> str:
    """Return what a model beside is called in the table: `Qwen/Qwen3-4B` is qwen3-4b."""
    return re.sub(r"[^a-z0-9]+", "-", Path(model).name.lower()).strip("-")
