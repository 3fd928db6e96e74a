"""A base model's architecture at a size that a laptop trains in seconds, for `REHEARSE=1`.

It has the base model's own config class, tokenizer and chat template, two layers (or one of each kind, if the
architecture has more kinds), fewer attention heads of the true size, and random weights. Only small files of
the base model are needed, not its weights.

    python -m tunebook.models.cut_model FILES TOKENIZER FOLDER     # in a separate process
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel

from tunebook.core.errors import InputError, MachineError, Problem
from tunebook.core.files import AxolotlConfig, damage, digest, file_sha256
from tunebook.core.paths import cache_folder
from tunebook.core.process import ChildError, write_folder
from tunebook.models import base_files, trial_model
from tunebook.models.hub import cached, hub_error, unreachable
from tunebook.models.kernels import no_gpu_kernels_on_a_cpu
from tunebook.models.locate import OWN_CODE

LAYERS = 2
NARROWEST = 128  # hidden size below which a model is not made narrower
EXPERTS = 8
TOO_LARGE = 600_000_000  # parameters of a model that cannot be made narrower
VERSION = 1  # of what is written; a cached folder of another version is not used
FACTS = "cut.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
SMALL = ["*.json", "*.jinja", "*.txt", "*.model"]
WEIGHTS = ["*.safetensors.index.json", "*.bin.index.json"]
INSTEAD = "use a folder with its config.json and tokenizer files (no weights needed): --model FOLDER (MODEL=)"

# names of the same number in different families of models
DEPTH = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads",)
# divided along with the heads
WIDTHS = (
    *HIDDEN,
    *HEADS,
    *KV_HEADS,
    *("intermediate_size", "n_inner", "ffn_dim", "moe_intermediate_size", "shared_intermediate_size"),
    *("shared_expert_intermediate_size", "mamba_n_heads", "linear_num_value_heads", "linear_num_key_heads"),
)
COUNTS_OF_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
# numbers of layers within the model, which must not exceed what is left
WITHIN_DEPTH = {"max_window_layers": LAYERS, "first_k_dense_replace": 1, "num_kv_shared_layers": 0}


class Cut(BaseModel):
    """What is left of a base model. `layers`, `hidden` and `experts` are (true, here); `own_tokenizer` is
    False if the trial model's tokenizer stands in; `quantized` names the quantization of its published
    weights."""

    architecture: str
    layers: tuple[int, int]
    hidden: tuple[int, int]
    experts: tuple[int, int] | None
    vocab: int
    parameters: int
    own_tokenizer: bool
    quantized: str | None


def ensure(base: str, revision: str | None, log: Path | None = None) -> tuple[Path, Cut]:
    """Return the cached folder of the cut `base` and what is left of it, making it if needed.

    Raises:
        InputError: no config.json, or the model runs code of its own.
        MachineError: the files of `base` are not on this machine and the Hub cannot be reached; or the model
            could not be made.
    """
    files = small_files(base, revision)
    own = any((files / name).is_file() for name in TOKENIZERS)
    tokenizer = files if own else trial_model.ensure(log)
    sources = sorted(path for folder in {files, tokenizer} for path in _small(folder))
    key = digest([VERSION, own, [[path.name, file_sha256(path)] for path in sources]])[:12]
    target = cache_folder() / "rehearsal" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        if damage(target) is not None:
            words = [str(files), str(tokenizer)]
            try:
                write_folder("tunebook.models.cut_model", words, target, log, sealed=True)
            except ChildError as error:
                text = (
                    f"the architecture of {base!r} cannot run on a CPU, cut to {LAYERS} layers: {error}. "
                    "Nothing of this recipe can be rehearsed here; SMOKE=1 tests it on the rented GPU."
                )
                problem = Problem(text, key="base_model", code="model.not_cut")
                raise MachineError(problem) from error
    return target, Cut.model_validate_json((target / FACTS).read_text(encoding="utf-8"))


def _small(folder: Path) -> list[Path]:
    return [
        path for pattern in SMALL for path in folder.glob(pattern) if not path.name.endswith(".index.json")
    ]


def small_files(base: str, revision: str | None) -> Path:
    """Return the folder with config.json and tokenizer of `base`: a local folder, or the Hub's cache, into
    which they are downloaded if the Hub can be reached; raises what `ensure` raises."""
    folder = trial_model.ensure() if base == trial_model.NAME else Path(base)
    if not folder.is_dir():
        there = cached(base, "config.json", revision)
        problem = unreachable()
        if problem is None:
            folder = _download(base, revision)
        elif there is not None:
            folder = there.parent
        else:
            raise hub_error("base_model", repr(base), problem, INSTEAD) from None
    if not (folder / "config.json").is_file():
        text = f"{base!r} has no config.json, from which the architecture would be read."
        raise InputError(Problem(text, key="base_model", code="model.no_config"))
    if name := base_files.own_code(str(folder)):
        raise InputError(Problem(f"{name}: {OWN_CODE}", base, key="base_model", code="model.own_code"))
    return folder


def _download(base: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(base, revision=revision, allow_patterns=SMALL, ignore_patterns=WEIGHTS)
    except Exception as error:  # the Hub client lets through many kinds of connection errors
        raise hub_error("base_model", repr(base), error, INSTEAD) from None
    return Path(found)


# What follows needs no other module of Tunebook, and most of it no transformers: it works on a config.json.


def shortened(config: AxolotlConfig) -> AxolotlConfig:
    """Return a config.json with `LAYERS` layers, or one of each kind of layer if there are more kinds; so for
    every model inside it (a text model, a vision tower)."""
    result = {key: shortened(value) if _is_model(value) else value for key, value in config.items()}
    depth = next((name for name in DEPTH if isinstance(config.get(name), int)), None)
    if depth is None:
        return result
    count = config[depth]
    kept = _kept_layers(config, count)
    for name, value in config.items():
        if isinstance(value, list) and len(value) == count and count > len(kept):
            result[name] = [value[index] for index in kept]
        if isinstance(value, dict) and value and all(str(key).isdecimal() for key in value):  # by layer
            result[name] = {kept.index(int(key)): one for key, one in value.items() if int(key) in kept}
    for name in DEPTH:
        if config.get(name) == count:
            result[name] = len(kept)
    for name, most in WITHIN_DEPTH.items():
        if isinstance(config.get(name), int):
            result[name] = min(config[name], most)
    return result


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and any(name in value for name in DEPTH)


def _kept_layers(config: AxolotlConfig, count: int) -> list[int]:
    """Return the indices of the layers that are kept: the first of each kind, then the first ones."""
    kinds = config.get("layer_types")
    first = (
        sorted({kind: index for index, kind in reversed(list(enumerate(kinds)))}.values())
        if isinstance(kinds, list) and len(kinds) == count
        else []
    )
    others = [index for index in range(count) if index not in first]
    return sorted(first + others[: max(0, LAYERS - len(first))])


def narrowed(config: AxolotlConfig) -> AxolotlConfig:
    """Return a config.json with as few attention heads as their ratio allows, and all widths reduced in
    proportion. The size of a head stays, so that position embeddings are the true ones."""
    result = {key: narrowed(value) if _is_model(value) else value for key, value in config.items()}
    heads, hidden = _number(config, HEADS), _number(config, HIDDEN)
    if not heads or not hidden:
        return result
    shared = math.gcd(heads, _number(config, KV_HEADS) or heads)
    parts = [part for part in range(1, shared + 1) if shared % part == 0]
    by = max(part for part in parts if hidden // part >= NARROWEST or part == 1)
    for name in WIDTHS:
        if isinstance(config.get(name), int):
            result[name] = max(1, config[name] // by)
    for name in COUNTS_OF_EXPERTS:
        if isinstance(config.get(name), int) and (config.get("n_group") or 1) == 1:
            result[name] = min(config[name], max(EXPERTS, config.get("num_experts_per_tok") or 0))
    return result


def _number(config: AxolotlConfig, names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def make(files: Path, tokenizer_folder: Path, target: Path) -> None:
    """Write the cut model in bf16, with transformers' default initialisation, its tokenizer and `FACTS`.

    Raises:
        ValueError: it cannot be made narrow, and at its true width it is too large.
    """
    from transformers import AutoTokenizer, GenerationConfig, set_seed

    no_gpu_kernels_on_a_cpu()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    true = json.loads((files / "config.json").read_text(encoding="utf-8"))
    quantized = true.pop("quantization_config", None)
    own = files == tokenizer_folder
    short = shortened(true) if own else _with_tokens(shortened(true), tokenizer)
    set_seed(42)
    try:
        model, kept = _built(narrowed(short))
    except Exception:  # every class has its own conditions on its widths
        model, kept = _built(short)
        if model.num_parameters() > TOO_LARGE:
            raise ValueError(f"{model.num_parameters():,} parameters at its true width") from None
    if (files / "generation_config.json").is_file() and own:
        model.generation_config = GenerationConfig.from_pretrained(files)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    text, small = _text(true), _text(kept)
    experts = _number(text, COUNTS_OF_EXPERTS)
    facts = Cut(
        architecture=type(model).__name__,
        layers=(_number(text, DEPTH) or 0, _number(small, DEPTH) or 0),
        hidden=(_number(text, HIDDEN) or 0, _number(small, HIDDEN) or 0),
        experts=(experts, _number(small, COUNTS_OF_EXPERTS) or 0) if experts else None,
        vocab=_number(small, ("vocab_size",)) or len(tokenizer),
        parameters=model.num_parameters(),
        own_tokenizer=own,
        quantized=str(quantized.get("quant_method")) if quantized else None,
    )
    (target / FACTS).write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _text(config: AxolotlConfig) -> AxolotlConfig:
    """Return the part of a config.json that describes the text model."""
    part: AxolotlConfig = config.get("text_config") or config
    return part


def _with_tokens(config: AxolotlConfig, tokenizer: Any) -> AxolotlConfig:
    """Return `config` with the vocabulary and special tokens of a tokenizer that stands in."""
    ends = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    changed = config | ends
    part = _text(changed)
    part |= {"vocab_size": len(tokenizer)} | {key: id for key, id in ends.items() if key in part}
    return changed


def _built(config: AxolotlConfig) -> tuple[Any, AxolotlConfig]:
    """Return the model of a config.json after one forward pass of eight tokens, and that config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16)
    with torch.no_grad():
        model(input_ids=torch.arange(8)[None], use_cache=False)
    return model, config


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
