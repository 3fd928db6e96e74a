"""The embedding table and the output layer of a loaded model: their size, and whether they are tied.

Plain LoRA changes neither. An adapter may also train them (`lora_modules_to_save`, LoRA on `lm_head`, single
tokens), or extend them for new tokens. In a base model with tied tables both are one parameter, so merging
into one table would change the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

# Parts of a parameter's path that show that PEFT has replaced the layer.
REPLACED = ("base_layer", "original_module", "modules_to_save", "token_adapter")


@contextmanager
def left_untied(model: Any) -> Iterator[None]:
    """Make `tie_weights` of `model` do nothing. lm-evaluation-harness calls it, and the trained output layer
    of a tied base model would be lost, or the call would fail."""
    model.tie_weights = lambda *_, **__: None
    try:
        yield
    finally:
        del model.tie_weights


def saved_rows(folder: Path) -> int | None:
    """Return the number of rows of the embedding table saved with an adapter in `folder`, or None if there is
    none: PEFT saves a table that was extended for new tokens together with the adapter."""
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
    nothing if `rows` is None or already the size."""
    table = model.get_input_embeddings()
    if rows is not None and table is not None and table.num_embeddings != rows:
        with torch.no_grad():
            mean = table.weight.float().mean(dim=0).to(table.weight.dtype)
            before = table.num_embeddings
            model.resize_token_embeddings(rows, mean_resizing=False)
            if rows > before:
                model.get_input_embeddings().weight[before:] = mean


def merge(model: Any) -> Any:
    """Return the base model of a PeftModel with its adapter merged in. If the adapter changes one of two tied
    tables, the tables are untied."""
    base = model.get_base_model()
    if _tied_and_touched(base):
        _untie(base)
    return model.merge_and_unload()


def _parameters(model: Any) -> Iterator[tuple[str, Any, str, torch.nn.Parameter]]:
    """Yield every occurrence of every parameter: path, module, name in the module, and the parameter."""
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
    """Give every occurrence of a shared parameter its own copy."""
    seen = set()
    for _, module, name, weight in [*_parameters(model)]:
        if id(weight) in seen:
            setattr(module, name, torch.nn.Parameter(weight.detach().clone(), requires_grad=False))
        seen.add(id(weight))
    model.config.tie_word_embeddings = False
