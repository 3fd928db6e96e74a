"""The two lanes of requirements.lock, and what the code does differently in each (docs/lanes.md).

Python 3.11 has Axolotl 0.19 with transformers 5.16; Python 3.12 and 3.13 have Axolotl 0.21 with transformers
5.20. Everything that depends on the installed lane is in this file, with the version that needs it.
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
    """Return whether the newer lane, or a later Axolotl, is installed."""
    return tuple(int(part) for part in axolotl().split(".")[:2]) >= NEW


def python_of(version: str) -> str:
    """Return the Python version whose lane has this version of Axolotl."""
    return PYTHONS.get(version.rpartition(".")[0], "a different Python version")


def of_launch(on: str) -> str:
    """Return which Axolotl version trains a run launched with `--on`, and the version installed here."""
    newest = max(PYTHONS)
    where = {
        "slurm": f"Axolotl {axolotl()}: the job uses the environment of the machine that submits it",
        "kubernetes": f"the Axolotl of the image; `make image` builds it with {newest}",
    }
    version = where.get(
        on, f"Axolotl {newest} if the machine has {PYTHONS[newest]}, otherwise the previous version"
    )
    if on == "slurm" and not is_new():
        return f"{version}. {PYTHONS[newest]} would install {newest} (docs/lanes.md)"
    return version if on == "slurm" or is_new() else f"{version}; installed here: {axolotl()} (docs/lanes.md)"


def counts_tokens() -> bool:
    """Return whether Axolotl divides the loss of a step by the trained tokens of all its micro batches. 0.19
    looks for `num_items_in_batch` among the arguments of `forward`, where no model has it (Axolotl issue
    3982); 0.21 looks at the loss function. Both still average over processes."""
    return is_new()


def seeds_weights() -> bool:
    """Return whether Axolotl's `seed` also covers the initial weights of an adapter or head: since 0.21,
    which seeds before the model is loaded (its `seed_model_initialization`)."""
    return is_new()


def keeps_token_counts() -> bool:
    """Return whether Axolotl's token counters continue when training resumes from a checkpoint that it found
    by itself: since 0.21. 0.19 restarts them, as both do if the checkpoint's counts cannot be read."""
    return is_new()


def load_gguf(model_class: Any, folder: str, file: str, **options: Any) -> Any:
    """Return the model in a GGUF file with unpacked weights, so that it can be saved.

    transformers 5.20 keeps GGUF weights packed, asks the Hub for kernels that compute on them, and refuses to
    save such a model even after unpacking it. 5.16 always unpacks and has no such class.
    """
    import transformers

    if hasattr(transformers, "GgufConfig"):
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = model_class.from_pretrained(folder, gguf_file=file, **options)
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer = None
        del model.config.quantization_config
    return model
