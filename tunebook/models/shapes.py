"""The shape of a dense decoder model, from which its memory and arithmetic follow."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import AxolotlConfig
from tunebook.models import base_files
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
}
# Gemma 2 and 3 have a norm before and after both attention and MLP; the others have two norms per layer.
NORMS = {"gemma2": 4, "gemma3_text": 4}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class Shape(BaseModel):
    """A Llama-like model: gated MLP, grouped-query attention, `norms` RMS norms per layer. The few biases
    that some models have are ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    positions: int | None = None
    source: str | None = None  # where a table has the numbers from
    tied: bool
    qk_norm: Literal["none", "head", "whole"]
    norms: int = 2

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all key heads together; the same for the values."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(in, out) sizes of the seven linear layers of one decoder layer."""
        h, f, q, k = self.hidden, self.intermediate, self.query, self.key
        return ((h, q), (h, k), (h, k), (q, h), (h, f), (h, f), (f, h))

    @property
    def layer_parameters(self) -> int:
        """Number of weights in one decoder layer."""
        norms = {"none": 0, "head": 2 * self.head_dim, "whole": self.query + self.key}[self.qk_norm]
        return sum(i * o for i, o in self.linears) + self.norms * self.hidden + norms

    @property
    def embedding_parameters(self) -> int:
        """Number of weights in the input embedding, plus the output layer if it is not tied."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Number of all weights."""
        return self.layers * self.layer_parameters + self.embedding_parameters + self.hidden

    @property
    def quantised_parameters(self) -> int:
        """Number of weights that bitsandbytes stores in 4 or 8 bits: the linear layers except the output
        layer."""
        return self.layers * sum(i * o for i, o in self.linears)

    def adapter_parameters(self, rank: int, layers: int | None = None) -> int:
        """Return the number of weights in a LoRA adapter on all linear layers of `layers` (default: all)
        layers."""
        return (self.layers if layers is None else layers) * sum(rank * (i + o) for i, o in self.linears)


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
    if kind == "gemma3" and isinstance(
        config.get("text_config"), dict
    ):  # the text model only, without the vision tower
        return from_config({**config["text_config"], "model_type": "gemma3_text"}, file)
    if kind not in KNOWN or any(config.get(key) for key in EXPERTS):
        raise InputError(
            Problem(
                f"plan supports dense decoders only: {', '.join(KNOWN)} (got {kind!r}).",
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
