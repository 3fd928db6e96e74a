"""Facts about a base model, read from its files without loading it: names of weights, tokens, positions.

The files come from a local folder or the Hub's cache; nothing is downloaded. Missing information is None.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tunebook.core.files import AxolotlConfig
from tunebook.models.hub import cached

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
FILES = ("config.json", INDEX, SINGLE, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class BaseFiles:
    """`config` is config.json; `weights` holds the names of all parameters, `tokens` each token with its id.
    Either is None if its file is not on this machine."""

    config: AxolotlConfig
    weights: frozenset[str] | None
    tokens: dict[str, int] | None
    has_template: bool | None

    @property
    def modules(self) -> frozenset[str] | None:
        """Paths of the modules that have weights, plus `lm_head`, which has no weight of its own in a model
        with tied embeddings."""
        if self.weights is None:
            return None
        return frozenset({name.rpartition(".")[0] for name in self.weights} | {"lm_head"})

    @property
    def text(self) -> dict[str, Any]:
        """The part of config.json that describes the text model."""
        return self.config.get("text_config") or self.config

    @property
    def layers(self) -> int | None:
        return self.text.get("num_hidden_layers")

    @property
    def positions(self) -> int | None:
        """The number of positions the model supports, including the scaling set in its config.json."""
        most = self.text.get("max_position_embeddings")
        rope = self.text.get("rope_scaling") or self.text.get("rope_parameters") or {}
        original, factor = rope.get("original_max_position_embeddings"), rope.get("factor")
        if most and original and factor:
            return max(int(most), int(original * factor))
        return most


def read(base: str, revision: str | None = None) -> BaseFiles | None:
    """Return the facts about `base`, or None if its config.json is not on this machine or a file cannot be
    read."""

    return _read(base, tuple((name, _find(base, name, revision)) for name in FILES), _stamp(base))


def text_of(base: str, name: str, revision: str | None = None) -> str | None:
    """Return the text of a file of `base`, or None if it is not on this machine."""
    path = _find(base, name, revision)
    return path.read_text(encoding="utf-8") if path else None


def own_code(base: str, revision: str | None = None) -> str | None:
    """Return the file of `base` that names Python code of its own without which it cannot be loaded; None
    where it has none, transformers knows its kind, or its files are not on this machine."""
    for name, kind, known in (
        ("config.json", "model_type", "configuration_auto.py"),
        ("tokenizer_config.json", "tokenizer_class", "tokenization_auto.py"),
    ):
        try:
            settings = json.loads(text_of(base, name, revision) or "null")
        except ValueError:
            continue  # whoever loads it says what is wrong with it
        if (
            isinstance(settings, dict)
            and settings.get("auto_map")
            and settings.get(kind) not in _known(known)
        ):
            return name
    return None


@lru_cache(maxsize=2)
def _known(name: str) -> frozenset[str]:
    """Return the words in quotes of a module of transformers that lists what it knows. It is read, not
    imported, which would take seconds."""
    found = find_spec("transformers")
    places = found.submodule_search_locations if found else None
    folder = Path((places or ["."])[0]) / "models" / "auto"
    texts = [
        path.read_text(encoding="utf-8")
        for path in (folder / name, folder / "auto_mappings.py")
        if path.is_file()
    ]
    return frozenset(re.findall(r"[\"']([\w.-]+)[\"']", "\n".join(texts)))


def _find(base: str, name: str, revision: str | None) -> Path | None:
    if Path(base).is_dir():
        path = Path(base) / name
        return path if path.is_file() else None
    return cached(base, name, revision)


def _stamp(base: str) -> tuple[int, ...]:
    """Return the modification times of a local model's files, so that changed files are read again."""
    files = sorted(Path(base).glob("*.json*")) if Path(base).is_dir() else []
    return tuple(path.stat().st_mtime_ns for path in files)


@lru_cache(maxsize=4)
def _read(base: str, found: tuple[tuple[str, Path | None], ...], stamp: tuple[int, ...]) -> BaseFiles | None:
    places = dict(found)

    def find(name: str) -> Path | None:
        return places[name]

    def text(name: str) -> Any:
        path = find(name)
        return json.loads(path.read_text(encoding="utf-8")) if path else None

    try:
        config = text("config.json")
        if not isinstance(config, dict):
            return None
        index, single = text(INDEX), find(SINGLE)
        weights = None
        if index:
            weights = frozenset(index["weight_map"])
        elif single:
            weights = _names(single)
        tokenizer, settings = text("tokenizer.json"), text("tokenizer_config.json")
        template = None
        if settings is not None:
            template = bool(settings.get("chat_template")) or find("chat_template.jinja") is not None
        return BaseFiles(config, weights, _tokens(tokenizer), template)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, struct.error):
        return None  # the code that loads the model reports what is wrong


def _names(path: Path) -> frozenset[str]:
    """Return the parameter names in the header of a safetensors file (8 bytes little-endian length, then
    JSON)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return frozenset(header) - {"__metadata__"}


def _tokens(tokenizer: dict[str, Any] | None) -> dict[str, int] | None:
    if tokenizer is None:
        return None
    vocabulary = (tokenizer.get("model") or {}).get("vocab")
    if not isinstance(vocabulary, dict):
        return None  # a Unigram vocabulary is a list of pairs; its tokens have other escapes
    added = {item["content"]: item["id"] for item in tokenizer.get("added_tokens") or []}
    return {**vocabulary, **added}
