"""The folder `model/` of a run: whether what a training wrote there is whole, before anything loads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import Problem, raise_all
from tunebook.core.files import AxolotlConfig, whole_safetensors
from tunebook.core.paths import show
from tunebook.runs.run import Run, find

ADAPTER, SETTINGS = "adapter_config.json", "tokenizer_config.json"
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
# What a tokenizer's words are in: of the fast ones, of sentencepiece, of byte-level BPE, of mistral-common.
WORDS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
RESTORE = "Copy the folder again from where it was trained (make fetch), or train again (NEW=1)."


def find_with_model(text: str, finished: str) -> Run:
    """Return the run named by RUN=, whose fine-tuned model can be loaded.

    Raises:
        InputError: what `find` raises; a file of `model/` is missing or damaged, or is another adapter's.
    """
    run = find(text, finished)
    raise_all(list(_faults(run / "model", run.config())))
    return run


def _faults(folder: Path, config: AxolotlConfig) -> Iterator[Problem]:
    if not folder.is_dir():
        yield _damaged(folder, "missing")
        return
    if config.get("adapter"):
        settings = _json(folder / ADAPTER)
        if isinstance(settings, Problem):
            yield settings
        else:
            yield from _foreign(folder / ADAPTER, settings, config)
        files = [folder / "adapter_model.safetensors"]
    else:
        settings = _json(folder / "config.json")
        if isinstance(settings, Problem):
            yield settings
        listed = _shards(folder)
        if isinstance(listed, Problem):
            yield listed
        files = [] if isinstance(listed, Problem) else listed
    for path in files:
        if not path.is_file():
            yield _damaged(path, "missing")
        elif not whole_safetensors(path):
            yield _damaged(path, "cut off or no safetensors file")
    tokenizer = _json(folder / SETTINGS)
    if isinstance(tokenizer, Problem):
        yield tokenizer
    words = [folder / name for name in WORDS if (folder / name).is_file()]
    if not words:
        yield _damaged(folder / WORDS[0], "missing")
    for path in words:
        found = _json(path) if path.suffix == ".json" else None
        if isinstance(found, Problem):
            yield found


def _shards(folder: Path) -> list[Path] | Problem:
    """Return the weight files of a full model."""
    if not (folder / INDEX).is_file():
        return [folder / WHOLE]
    index = _json(folder / INDEX)
    if isinstance(index, Problem):
        return index
    names = index.get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return _damaged(folder / INDEX, "it lists no files")
    return [folder / name for name in sorted(set(names.values()))]


def _foreign(path: Path, settings: dict[str, Any], config: AxolotlConfig) -> Iterator[Problem]:
    """Yield what says that an adapter was not trained by this run: PEFT would load it onto the run's base
    model and leave out what does not fit."""
    base = settings.get("base_model_name_or_path")
    if base and str(base) != str(config["base_model"]):
        yield _another(path, "base_model_name_or_path", base, config["base_model"])
    rank, wanted = settings.get("r"), config.get("lora_r")
    if settings.get("peft_type") == "LORA" and wanted is not None and rank != wanted:
        yield _another(path, "r", rank, wanted)


def _json(path: Path) -> dict[str, Any] | Problem:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return _damaged(path, "missing")
    except (ValueError, RecursionError, IsADirectoryError) as error:
        return _damaged(path, f"not JSON: {error}")
    return value if isinstance(value, dict) else _damaged(path, "not a JSON object")


def _damaged(path: Path, text: str) -> Problem:
    return Problem(f"{text}. {RESTORE}", show(path), code="run.damaged_model")


def _another(path: Path, key: str, found: object, wanted: object) -> Problem:
    text = f"this adapter is another run's (got {found!r}; config.yaml of this run has {wanted!r}). {RESTORE}"
    return Problem(text, show(path), key=key, code="run.foreign_adapter")
