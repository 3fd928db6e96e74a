"""Configs written by somebody else: find the keys that run code, send data out or read other files.

foreign_keys.yaml classifies every key of Axolotl's schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from tunebook.config.keys import schema
from tunebook.core.errors import Problem
from tunebook.core.yaml_file import Lines, Path_, dotted, line_of
from tunebook.models.methods import OWN_PLUGINS

OFF: tuple[object, ...] = (None, False, "", [], {})  # values that enable nothing
# Axolotl's plugin that enables use_kernels.
KERNELS = "axolotl.integrations.kernels.KernelsPlugin"
# Inside a mapping of model settings: names of other files and of code.
REACHES_OUT = re.compile(r"(?i)^_|auto_map|code|custom|path|dir|file|url|token$|implementation|kernel|trust")


class Decided(BaseModel):
    """foreign_keys.yaml. `plain` lists the harmless keys by the model of Axolotl's schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    refused: dict[str, frozenset[str]]
    judged: frozenset[str]
    replaced: frozenset[str]
    plain: dict[str, frozenset[str]]

    @field_validator("*", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: text.split() for key, text in value.items()}
        return value.split()


@cache
def decided() -> Decided:
    """Return the classification of every key."""
    text = (Path(__file__).parent / "foreign_keys.yaml").read_text(encoding="utf-8")
    return Decided.model_validate(yaml.safe_load(text))


def foreign_problems(
    config: dict[str, Any], lines: Lines, file: str, allowed: Collection[str]
) -> list[Problem]:
    """Return a Problem for each key of `config` that runs code, sends data out or reads other files, and for
    each key in `allowed` that does none of this."""
    found: dict[str, tuple[Path_, str]] = {}
    for key, value in config.items():
        if value in OFF:
            continue
        for what, keys in decided().refused.items():
            if key in keys:
                found[key] = (key,), what
        for where, what in JUDGES[key](value) if key in JUDGES else ():
            found[key] = (key, *where), what
    problems = []
    for key, (where, what) in found.items():
        if key not in allowed:
            text = (
                f"{what}, and the config comes from somebody else. Read it, then remove the key or add "
                f"--allow {key} (ALLOW=)."
            )
            problems.append(Problem(text, file, line_of(lines, where), dotted(where), "fork.foreign_key"))
    for key in allowed:
        if key not in found:
            text = f"{file} has no key {key} that needs to be allowed. Remove the option."
            problems.append(Problem(text, key="--allow (ALLOW=)", code="fork.nothing_to_allow"))
    return problems


Found = list[tuple[Path_, str]]


def _plugins(value: Any) -> Found:
    found: Found = []
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        if item == KERNELS:
            found.append(((index,), "downloads code from the Hub and runs it"))
        elif str(item) not in {*schema()["plugins"], *OWN_PLUGINS}:
            found.append(((index,), "runs code that the config names"))
    return found


def _deepspeed(value: Any) -> Found:
    own = re.fullmatch(r"(deepspeed_configs|hardware/deepspeed)/[\w-]+\.json", str(value))
    return [] if own else [((), "reads settings that may write to other files and send data to services")]


def _implementation(value: Any) -> Found:
    return [((), "downloads code from the Hub and runs it")] if "/" in str(value) else []


def _class(value: Any) -> Found:
    plain = re.fullmatch(r"[A-Za-z]\w*", str(value))
    return [] if plain else [((), "is not the name of a transformers class")]


def _template(value: Any) -> Found:
    plain = re.fullmatch(r"[\w-]+", str(value))
    return [] if plain else [((), "is a template that determines every prompt, or the path of one")]


def _settings(value: Any, where: Path_ = ()) -> Found:
    found: Found = []
    for key, item in value.items() if isinstance(value, dict) else ():
        if REACHES_OUT.search(str(key)):
            found.append(((*where, str(key)), "makes the model loader read other code or files"))
        found += _settings(item, (*where, str(key)))
    return found


JUDGES: dict[str, Callable[[Any], Found]] = {
    "plugins": _plugins,
    "deepspeed": _deepspeed,
    "attn_implementation": _implementation,
    "experts_implementation": _implementation,
    "model_type": _class,
    "type_of_model": _class,
    "tokenizer_type": _class,
    "cls_model_config": _class,
    "chat_template": _template,
    "model_config": _settings,
    "overrides_of_model_config": _settings,
}
