"""Write tunebook/config/axolotl_keys.json: every key of Axolotl's schema, at every level, with its types.

Axolotl silently drops unknown keys, and importing it takes half a minute; so this script lists the keys once,
and `tunebook check` reads the list. A test runs this with --check.

The file has the keys that all versions in pyproject.toml share under `common`, and for each version the keys
that differ. A run updates the part of the installed version, so run it once in the environment of each lane.

    .venv/bin/python scripts/list_axolotl_keys.py [--check]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import re
import types
import typing
from enum import Enum

from tunebook.config.keys import LIST, KeyList, of_version
from tunebook.core.paths import ROOT

# Axolotl's own plugins with the class of their arguments, None if they have none; no version has all of them.
# Plugins that do not train on answers (diffusion, nemo_gym, hatchery, kd) are listed too, so that their keys
# are known; fork refuses them.
INTEGRATIONS = {
    "liger.LigerPlugin": "LigerArgs",
    "context_parallel.ContextParallelPlugin": "ContextParallelArgs",
    "coreweave.CoreWeavePlugin": "CoreWeaveArgs",
    "cut_cross_entropy.CutCrossEntropyPlugin": "CutCrossEntropyArgs",
    "densemixer.DenseMixerPlugin": "DenseMixerArgs",
    "diffusion.DiffusionPlugin": "DiffusionArgs",
    "diffusion_decision.DiffusionDecisionPlugin": "DiffusionDecisionArgs",
    "expert_parallel.ExpertParallelPlugin": "ExpertParallelArgs",
    "fla_sm120_shim.FlaSm120ShimPlugin": None,
    "grokfast.GrokfastPlugin": "GrokfastArgs",
    "hatchery.HatcheryPlugin": "HatcheryArgs",
    "kd.KDPlugin": "KDArgs",
    "kernels.KernelsPlugin": "KernelsArgs",
    "lm_eval.LMEvalPlugin": "LMEvalArgs",
    "mixlora.MixLoraPlugin": None,
    "mora.MoraPlugin": "MoraArgs",
    "nemo_gym.NemoGymPlugin": "NemoGymArgs",
    "spectrum.SpectrumPlugin": "SpectrumArgs",
    "swanlab.SwanLabPlugin": "SwanLabConfig",
}
# Its module imports a package that is not in the lock.
BY_HAND = {
    "axolotl.integrations.llm_compressor.LLMCompressorPlugin": (
        "LLMCompressorArgs",
        {"llmcompressor": ["mapping"]},
    )
}
OWN = {
    "tunebook.plugins.Adapters": "tunebook.config.adapter_keys.AdapterArguments",
    "tunebook.plugins.ClassificationHead": "tunebook.plugins.classification_head.HeadArguments",
    "tunebook.plugins.Thinking": "tunebook.plugins.thinking.ThinkingArguments",
}


def plugin_arguments() -> dict[str, str | None]:
    """Return the class of arguments of each plugin that the installed Axolotl has, None for no arguments."""
    found = dict[str, str | None]()
    for plugin, arguments in INTEGRATIONS.items():
        folder = f"axolotl.integrations.{plugin.partition('.')[0]}"
        if importlib.util.find_spec(folder):
            found[f"axolotl.integrations.{plugin}"] = arguments and f"{folder}.args.{arguments}"
    return {**found, **OWN}


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


def build() -> KeyList:
    """Import Axolotl (slow) and return the whole list of the installed version."""
    from pydoc import locate

    from axolotl.utils.schemas.config import AxolotlInputConfig

    models: dict[str, dict] = {}
    add_model(AxolotlInputConfig, models)
    plugins = {}
    for plugin, arguments in plugin_arguments().items():
        if arguments is None:
            plugins[plugin] = "NoArguments"
            models["NoArguments"] = {}
            continue
        model = locate(arguments)
        add_model(model, models)  # type: ignore[arg-type]
        plugins[plugin] = model.__name__  # type: ignore[union-attr]
    for plugin, (name, keys) in BY_HAND.items():
        models[name], plugins[plugin] = keys, name
    return {
        "root": AxolotlInputConfig.__name__,
        "plugins": plugins,
        "models": {name: dict(sorted(keys.items())) for name, keys in sorted(models.items())},
        "names": names(),
    }


def names() -> dict[str, list[str]]:
    """Return the values that the installed Axolotl and transformers accept for keys that name something."""
    from axolotl.utils.schemas.enums import ChatTemplate, CustomSupportedOptimizers
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    found: dict[str, set[str]] = {
        "optimizer": {one.value for kind in (OptimizerNames, CustomSupportedOptimizers) for one in kind},
        "lr_scheduler": {one.value for one in SchedulerType}
        | {"one_cycle", "rex"},  # the last two: Axolotl's
        "chat_template": {one.value for one in ChatTemplate},
    }
    return {key: sorted(values) for key, values in found.items()}


def join(lists: dict[str, KeyList]) -> dict:
    """Return the content of the file for the lists of all versions, by version."""
    first, *others = lists.values()

    def shared(name: str, key: str, kinds: list[str]) -> bool:
        return all(other["models"].get(name, {}).get(key) == kinds for other in others)

    common = {
        name: {key: kinds for key, kinds in keys.items() if shared(name, key, kinds)}
        for name, keys in first["models"].items()
        if all(name in other["models"] for other in others)
    }
    plugins = {
        plugin: model
        for plugin, model in first["plugins"].items()
        if all(other["plugins"].get(plugin) == model for other in others)
    }
    both = {
        key: [name for name in some if all(name in other["names"][key] for other in others)]
        for key, some in first["names"].items()
    }
    made: dict = {"root": first["root"], "common": {"plugins": plugins, "models": common, "names": both}}
    for version, known in sorted(lists.items()):
        rest = {
            name: {key: kinds for key, kinds in keys.items() if key not in common.get(name, {})}
            for name, keys in known["models"].items()
        }
        made[version] = {
            "plugins": {plugin: model for plugin, model in known["plugins"].items() if plugin not in plugins},
            "models": {name: keys for name, keys in rest.items() if keys or name not in common},
            "names": {
                key: [name for name in some if name not in both[key]] for key, some in known["names"].items()
            },
        }
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the file is out of date")
    options = parser.parse_args(argv)
    content = json.loads(LIST.read_text())
    wanted = re.findall(r"axolotl==([\d.]+)", (ROOT / "pyproject.toml").read_text())
    lists = {version: of_version(content, version) for version in wanted if version in content}
    lists[importlib.metadata.version("axolotl")] = build()
    text = json.dumps(join(lists), indent=1) + "\n"
    if options.check:
        current = LIST.read_text() == text
        print("up to date" if current else f"{LIST} is out of date: run this without --check")
        return 0 if current else 1
    LIST.write_text(text)
    print(f"wrote {LIST}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
