"""Find a model that the user names: a folder, or an id on the Hub."""

from __future__ import annotations

import json
from pathlib import Path

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import cache_folder, show, slug
from tunebook.models import base_files
from tunebook.models.hub import hub_error

OWN_CODE = (
    "it brings Python code of its own (auto_map), which Tunebook does not run: trust_remote_code would run "
    "it in the training, and the evaluation could not load the result. Use a model whose "
    "architecture transformers supports."
)
WEIGHTS = ("adapter_config.json", "config.json")
TAKEN = ("base", "tuned", "tuned_rank_0", "unmerged", "svm", "endpoint")
WANTED = ["*.safetensors*", "*.json", "*.jinja", "*.txt", "*.model"]


def model_folder(model: str, key: str) -> Path:
    """Return the local folder of `model`, downloading it first if `model` is a Hub id.

    Args:
        key: the option or key that names the model, for messages.

    Raises:
        InputError: neither a folder nor an id, no such model, a folder without a model, or a model that runs
            code of its own.
        MachineError: the Hub is needed and cannot be reached.
    """
    path = Path(model)
    if not path.is_dir():
        if path.is_absolute() or model.count("/") != 1:
            text = f"{model!r} is neither a folder nor a Hub id (owner/name)."
            raise InputError(Problem(text, key=key, code="model.not_found"))
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            hub = cache_folder() / "huggingface" / "hub"
            path = Path(snapshot_download(model, allow_patterns=WANTED, cache_dir=hub))
        except RepositoryNotFoundError:
            text = f"the Hub has no model {model!r}."
            raise InputError(Problem(text, key=key, code="model.not_on_hub")) from None
        except Exception as error:  # the Hub client lets through many kinds of connection errors
            raise hub_error(key, repr(model), error) from None
    if not any((path / name).is_file() for name in WEIGHTS):
        text = f"{show(path)}: contains neither {' nor '.join(WEIGHTS)}."
        raise InputError(Problem(text, key=key, code="model.no_weights"))
    if name := base_files.own_code(str(path)):
        raise InputError(Problem(f"{name}: {OWN_CODE}", show(path), key=key, code="model.own_code"))
    return path


def ask_beside(models: list[str], key: str) -> None:
    """Check that each of `models` can be evaluated in addition: it has full weights and a chat template.

    Raises:
        InputError, MachineError: what `model_folder` raises, and a model that cannot be prompted.
    """
    names = [contender_name(model) for model in models]
    for model, name in zip(models, names, strict=True):
        if names.count(name) > 1 or name in TAKEN:
            text = f"{model}: another model in the table is already called {name!r}. Rename the folder."
            raise InputError(Problem(text, key=key, code="model.name_taken"))
        folder = model_folder(model, key)
        if (folder / "adapter_config.json").is_file():
            text = f"{model}: is an adapter. Merge it into its base model first: axolotl merge-lora."
            raise InputError(Problem(text, key=key, code="model.is_adapter"))
        settings = folder / "tokenizer_config.json"
        inline = settings.is_file() and "chat_template" in json.loads(settings.read_text("utf-8"))
        if not (inline or (folder / "chat_template.jinja").is_file()):
            text = f"{model}: its tokenizer has no chat template, so it cannot be prompted."
            raise InputError(Problem(text, key=key, code="model.no_chat_template"))


def contender_name(model: str) -> str:
    """Return the name of another model in tables: qwen3-4b for `Qwen/Qwen3-4B`."""
    return slug(Path(model).name)
