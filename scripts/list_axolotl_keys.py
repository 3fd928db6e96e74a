"""Write tunebook/config/axolotl_keys.json: every key of Axolotl's schema, at every level, with its types.

Axolotl drops unknown keys without a word, and importing it takes half a minute; so the keys are
listed once here, and `tunebook check` reads the list. A test runs this with --check.

    .venv/bin/python scripts/list_axolotl_keys.py [--check]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import types
import typing
from enum import Enum
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "tunebook" / "config" / "axolotl_keys.json"
# Axolotl's own plugins, by the class of their arguments. What trains something else than answers (diffusion,
# nemo_gym, hatchery, kd) is listed as well, so that its keys are known; fork refuses it.
INTEGRATIONS = {
    "liger.LigerPlugin": "LigerArgs",
    "cut_cross_entropy.CutCrossEntropyPlugin": "CutCrossEntropyArgs",
    "densemixer.DenseMixerPlugin": "DenseMixerArgs",
    "diffusion.DiffusionPlugin": "DiffusionArgs",
    "expert_parallel.ExpertParallelPlugin": "ExpertParallelArgs",
    "grokfast.GrokfastPlugin": "GrokfastArgs",
    "hatchery.HatcheryPlugin": "HatcheryArgs",
    "kd.KDPlugin": "KDArgs",
    "kernels.KernelsPlugin": "KernelsArgs",
    "lm_eval.LMEvalPlugin": "LMEvalArgs",
    "mora.MoraPlugin": "MoraArgs",
    "nemo_gym.NemoGymPlugin": "NemoGymArgs",
    "spectrum.SpectrumPlugin": "SpectrumArgs",
    "swanlab.SwanLabPlugin": "SwanLabConfig",
}
# Its module imports a package that the lock does not have.
BY_HAND = {
    "axolotl.integrations.llm_compressor.LLMCompressorPlugin": (
        "LLMCompressorArgs",
        {"llmcompressor": ["mapping"]},
    )
}
PLUGIN_ARGUMENTS = {
    **{
        f"axolotl.integrations.{plugin}": f"axolotl.integrations.{plugin.partition('.')[0]}.args.{arguments}"
        for plugin, arguments in INTEGRATIONS.items()
    },
    "tunebook.plugins.Adapters": "tunebook.config.adapter_keys.AdapterArguments",
    "tunebook.plugins.ClassificationHead": "tunebook.plugins.classification_head.HeadArguments",
}


def describe(annotation: object, models: dict[str, dict]) -> list[str]:
    """Return the types that `annotation` allows: plain names, `model:NAME`, `list:…`, or `any`."""
    from pydantic import BaseModel

    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return describe(arguments[0], models)
    if origin in (typing.Union, types.UnionType):
        return sorted({name for part in arguments for name in describe(part, models)})
    if origin in (list, set, tuple):
        return sorted({f"list:{name}" for part in arguments[:1] for name in describe(part, models)})
    if annotation in (list, tuple, set):
        return ["list:any"]
    if origin is dict or annotation is dict:
        return ["mapping"]
    if origin is typing.Literal:
        return sorted({type(value).__name__ for value in arguments})
    if annotation in (bool, int, float, str):
        return [annotation.__name__]  # type: ignore[union-attr]
    if annotation is type(None):
        return ["null"]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return sorted({type(member.value).__name__ for member in annotation})
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        add_model(annotation, models)
        return [f"model:{annotation.__name__}"]
    return ["any"]


def add_model(model: type, models: dict[str, dict]) -> None:
    """Add `model`, and every model it refers to, to `models`; aliases count as keys."""
    if model.__name__ in models:
        return
    keys: dict[str, list[str]] = {}
    models[model.__name__] = keys
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        kinds = describe(field.annotation, models)
        for key in {name, field.alias} - {None}:
            keys[key] = kinds


def build() -> dict:
    """Import Axolotl (slow) and return the whole list."""
    from pydoc import locate

    from axolotl.utils.schemas.config import AxolotlInputConfig

    models: dict[str, dict] = {}
    add_model(AxolotlInputConfig, models)
    plugins = {}
    for plugin, arguments in PLUGIN_ARGUMENTS.items():
        model = locate(arguments)
        add_model(model, models)  # type: ignore[arg-type]
        plugins[plugin] = model.__name__  # type: ignore[union-attr]
    for plugin, (name, keys) in BY_HAND.items():
        models[name], plugins[plugin] = keys, name
    return {
        "axolotl": importlib.metadata.version("axolotl"),
        "root": AxolotlInputConfig.__name__,
        "plugins": plugins,
        "models": {name: dict(sorted(keys.items())) for name, keys in sorted(models.items())},
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the file is out of date")
    options = parser.parse_args(argv)
    text = json.dumps(build(), indent=1) + "\n"
    if options.check:
        current = TARGET.read_text() == text
        print("up to date" if current else f"{TARGET} is out of date: run this without --check")
        return 0 if current else 1
    TARGET.write_text(text)
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
