"""The embedding table and the output layer of a loaded model: of what size, and whether they are one.

Plain LoRA leaves both alone. An adapter may also train them (`lora_modules_to_save`, LoRA on `lm_head`,
single tokens), or make them longer for new tokens. In a base with tied tables both are one parameter: what
merges into the one would change the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

# Parts of a parameter's path which say that PEFT has replaced the layer.
REPLACED = ("base_layer", "original_module", "modules_to_save", "token_adapter")


@contextmanager
def left_untied(model: Any) -> Iterator[None]:
    """Keep others from calling `tie_weights` of `model`, as lm-evaluation-harness does: a trained output
    layer of a tied base would be lost, or the call would fail."""
    model.tie_weights = lambda *_, **__: None
    try:
        yield
    finally:
        del model.tie_weights


def saved_rows(folder: Path) -> int | None:
    """Return how many rows the embedding table has that an adapter in `folder` was saved with, None where it
    holds none: PEFT saves a table that was made longer for new tokens with the adapter."""
    for path in folder.glob("adapter_model*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (no mapping)
                if key.endswith(("embed_tokens.weight", "embed_tokens.base_layer.weight")) or (
                    key.endswith("token_adapter.base_layer.weight") and "embed_tokens" in key
                ):
                    return int(file.get_slice(key).get_shape()[0])
    return None


def resize(model: Any, rows: int | None) -> None:
    """Resize the embedding tables of `model` to `rows` rows; new rows are the mean of the others. Does
    nothing for None, or where they have that size."""
    table = model.get_input_embeddings()
    if rows is not None and table is not None and table.num_embeddings != rows:
        with torch.no_grad():
            mean = table.weight.float().mean(dim=0).to(table.weight.dtype)
            before = table.num_embeddings
            model.resize_token_embeddings(rows, mean_resizing=False)
            if rows > before:
                model.get_input_embeddings().weight[before:] = mean


def merge(model: Any) -> Any:
    """Return the base of a PeftModel with its adapter merged in. Where the adapter touches one of two tied
    tables, they are two from there on."""
    base = model.get_base_model()
    if _tied_and_touched(base):
        _untie(base)
    return model.merge_and_unload()


def _parameters(model: Any) -> Iterator[tuple[str, Any, str, torch.nn.Parameter]]:
    """Yield every place of every parameter: path, module, name there, and the parameter."""
    for path, module in model.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            yield f"{path}.{name}", module, name, weight


def _tied_and_touched(model: Any) -> bool:
    places: dict[int, list[str]] = {}
    for path, _, _, weight in _parameters(model):
        places.setdefault(id(weight), []).append(path)
    return any(
        len(paths) > 1 and any(part in path for path in paths for part in REPLACED)
        for paths in places.values()
    )


def _untie(model: Any) -> None:
    """Give every place of a shared parameter a copy of its own."""
    seen = set()
    for _, module, name, weight in [*_parameters(model)]:
        if id(weight) in seen:
            setattr(module, name, torch.nn.Parameter(weight.detach().clone(), requires_grad=False))
        seen.add(id(weight))
    model.config.tie_word_embeddings = False
