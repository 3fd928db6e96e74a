"""The shape of a decoder model, from which its memory and arithmetic follow."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import AxolotlConfig
from tunebook.models import base_files
from tunebook.models.architecture import Delta, Experts, Global, Shape
from tunebook.models.hub import cached, hub_error, unreachable

# Model types whose config.json has all that is needed, and whether they normalise query and key.
KNOWN: dict[str, Literal["none", "head", "whole"]] = {
    "llama": "none",
    "mistral": "none",
    "qwen2": "none",
    "phi3": "none",
    "granite": "none",
    "qwen3": "head",
    "olmo2": "whole",
    "olmo3": "whole",
    "gemma": "none",
    "gemma2": "none",
    "gemma3_text": "head",
    "gemma4_text": "head",
    "gemma4_unified_text": "head",
    "qwen3_5_text": "head",
    "gpt_oss": "none",
}
# Models that also see: only their text model is planned, without the vision tower.
WITH_TEXT = ("gemma3", "gemma4", "gemma4_unified", "qwen3_5")
# Gemma 2 to 4 have a norm before and after both attention and MLP; the others have two norms per layer.
NORMS = dict.fromkeys(("gemma2", "gemma3_text", "gemma4_text", "gemma4_unified_text"), 4)
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
MIXTURES = ("gpt_oss",)


USUAL_POSITIONS = 32768  # if the config does not say how many positions there are


class Positions(NamedTuple):
    """How many tokens a prompt and its answer may have together, and who says so."""

    most: int
    source: str


def positions(config: AxolotlConfig) -> int | None:
    """Return how many tokens a prompt and its answer may have together on the base model of a config."""
    found = positions_by_source(config)
    return found.most if found else None


def positions_by_source(config: AxolotlConfig) -> Positions | None:
    """Return the positions of the base model of an Axolotl config, its `overrides_of_model_config` included:
    as its config.json says, where that is on this machine, else as the tables say; None without either."""
    base = str(config["base_model"])
    if override := (config.get("overrides_of_model_config") or {}).get("max_position_embeddings"):
        return Positions(override, "overrides_of_model_config")
    files = base_files.read(base, config.get("revision_of_model"))
    if files and isinstance(files.positions, int):
        return Positions(files.positions, "max_position_embeddings of its config.json on this machine")
    shape = _tables().get(base)
    if shape and shape.positions:
        file = "other_shapes.yaml" if base in others() else "shapes.yaml"
        return Positions(shape.positions, f"tunebook/models/{file}, from {shape.source}")
    return None


def _read(file: str) -> dict[str, dict[str, Any]]:
    return yaml.load((Path(__file__).parent / file).read_text(), Loader=yaml.CSafeLoader)


@cache
def others() -> dict[str, dict[str, Any]]:
    """Return other_shapes.yaml: shape, `parameters` and `licence` of models that are not in the model
    table."""
    return _read("other_shapes.yaml")


@cache
def _tables() -> dict[str, Shape]:
    table = _read("shapes.yaml")
    for name, value in others().items():
        table[name] = {key: value[key] for key in value.keys() - {"parameters", "licence"}}
    return {name: Shape.model_validate(value) for name, value in table.items()}


def known(base: str) -> bool:
    """Return whether `find(base)` can read a shape on this machine."""
    return base in _tables() or (Path(base) / "config.json").is_file()


def find(base: str, revision: str | None = None, download: bool = False) -> Shape:
    """Return the shape of a base model: from the tables, from a folder with a config.json, or from the Hub's
    cache.

    Args:
        download: fetch the config.json from the Hub if it is not on this machine.

    Raises:
        InputError: the shape is unknown, or the model is of a kind that these formulas do not cover.
        MachineError: the Hub refuses, or cannot be reached.
    """
    if base in _tables():
        return _tables()[base]
    path: Path | None = Path(base) / "config.json"
    if not Path(base).is_dir():
        path = cached(base, "config.json", revision) or (fetch(base, revision) if download else None)
    if path is None or not path.is_file():
        raise InputError(
            f"base_model: the shape of {base!r} is not known. Use a model of tunebook/models/shapes.yaml, a "
            "model whose config.json is in the Hub's cache, or a folder with its config.json (no weights "
            "needed).",
            code="model.unknown_shape",
        )
    return from_config(json.loads(path.read_text()), str(path))


def fetch(base: str, revision: str | None) -> Path:
    """Download the config.json of `base` from the Hub into its cache."""
    from huggingface_hub import hf_hub_download

    try:
        if error := unreachable():
            raise error
        return Path(hf_hub_download(base, "config.json", revision=revision))
    except Exception as error:  # the Hub client lets through many kinds of connection errors
        instead = "use a folder with its config.json (no weights needed)"
        raise hub_error("base_model", repr(base), error, instead) from None


def from_config(config: AxolotlConfig, file: str) -> Shape:
    """Return the shape described by a Hugging Face config.json.

    Raises:
        InputError: not a dense decoder of a known type, or a number is missing.
    """
    kind = config.get("model_type")
    if kind in WITH_TEXT and isinstance(config.get("text_config"), dict):
        outer = {key: config[key] for key in ("tie_word_embeddings",) if key in config}
        return from_config({**outer, **config["text_config"], "model_type": f"{kind}_text"}, file)
    if kind not in KNOWN or (kind not in MIXTURES and any(config.get(key) for key in EXPERTS)):
        found = f"{kind!r} with experts" if kind in KNOWN else repr(kind)
        raise InputError(
            Problem(
                f"plan supports these decoders only: {', '.join(KNOWN)} (got {found}).",
                file,
                key="model_type",
                code="model.not_dense",
            )
        )
    try:
        heads = config["num_attention_heads"]
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            vocab=config["vocab_size"],
            positions=config.get("max_position_embeddings"),
            tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
            qk_norm=KNOWN[kind],
            norms=NORMS.get(kind, 2),
            **_differences(kind, config),
        )
    except KeyError as error:
        raise InputError(
            Problem(
                "missing. Use the config.json that came with the weights.",
                file,
                key=str(error.args[0]),
                code="model.incomplete_config",
            )
        ) from None


def _differences(kind: str, config: AxolotlConfig) -> dict[str, Any]:
    """Return the fields of a Shape that only some model types have."""
    if kind == "gpt_oss":
        return {"experts": Experts(total=config["num_local_experts"], used=config["num_experts_per_tok"])}
    if kind == "qwen3_5_text":
        names = {"key_heads": "num_key_heads", "value_heads": "num_value_heads", "key_dim": "key_head_dim"}
        names |= {"value_dim": "value_head_dim", "conv": "conv_kernel_dim"}
        sizes = {field: config[f"linear_{name}"] for field, name in names.items()}
        return {"gate": True, "delta": Delta(every=config.get("full_attention_interval", 4), **sizes)}
    if kind.startswith("gemma4"):
        same = config.get("attention_k_eq_v", False)
        overall = Global(
            every=6,
            head_dim=config.get("global_head_dim", 512),
            kv_heads=(same and config.get("num_global_key_value_heads")) or config["num_key_value_heads"],
            window=config["sliding_window"],
            values=not same,
        )
        shared = {"shared_layers": config.get("num_kv_shared_layers", 0)}
        own = config.get("hidden_size_per_layer_input", 0) if kind == "gemma4_text" else 0
        return {"overall": overall, **shared, "per_layer": own}
    return {}
