"""The two lanes of requirements.lock, and what the code does differently on one of them (docs/lanes.md).

Python 3.11 has Axolotl 0.19 with transformers 5.16; Python 3.12 and 3.13 have Axolotl 0.21 with transformers
5.20. Whatever depends on which is installed is here, with the version that needs it.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any

NEW = (0, 21)
PYTHONS = {"0.19": "Python 3.11", "0.21": "Python 3.12 or 3.13"}


@cache
def axolotl() -> str:
    """Return the version of the installed Axolotl, such as `0.21.0`."""
    return importlib.metadata.version("axolotl")


def is_new() -> bool:
    """Whether the newer lane, or a later Axolotl, is installed."""
    return tuple(int(part) for part in axolotl().split(".")[:2]) >= NEW


def python_of(version: str) -> str:
    """Return the Python whose lane has this version of Axolotl."""
    return PYTHONS.get(version.rpartition(".")[0], "another Python")


def of_launch(on: str) -> str:
    """Return which Axolotl trains a run launched with `--on`, beside the one that is installed here."""
    newest = max(PYTHONS)
    where = {
        "slurm": f"Axolotl {axolotl()}: the job uses the environment that launches it",
        "kubernetes": f"the image's Axolotl; `make image` takes the base with {newest}",
    }
    said = where.get(on, f"Axolotl {newest} where the machine has {PYTHONS[newest]}, else the one before")
    if on == "slurm" and not is_new():
        return f"{said}. {PYTHONS[newest]} would bring {newest} (docs/lanes.md)"
    return said if on == "slurm" or is_new() else f"{said}; here is {axolotl()} (docs/lanes.md)"


def counts_tokens() -> bool:
    """Whether Axolotl divides the loss of a step by the trained tokens of all its micro batches. 0.19 looks
    for `num_items_in_batch` among the arguments of `forward`, where no model has it (its issue 3982); 0.21
    looks at the loss function. Over processes both still average."""
    return is_new()


def seeds_weights() -> bool:
    """Whether Axolotl's `seed` covers the first weights of an adapter or head: since 0.21, before the model
    loads (its `seed_model_initialization`)."""
    return is_new()


def load_gguf(model_class: Any, folder: str, file: str, **options: Any) -> Any:
    """Return the model in a GGUF file with plain weights, which can be saved.

    transformers 5.20 leaves GGUF weights packed, asks the Hub for kernels that compute on them, and refuses
    to save such a model, also where it has unpacked it. 5.16 always unpacks and has no such class.
    """
    import transformers

    if hasattr(transformers, "GgufConfig"):
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = model_class.from_pretrained(folder, gguf_file=file, **options)
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer = None
        del model.config.quantization_config
    return model
