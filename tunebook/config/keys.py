"""Strict check of Axolotl's keys and types; Axolotl itself silently ignores unknown keys."""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from tunebook.core.errors import Problem
from tunebook.core.yaml_file import Lines, Path_, dotted, line_of
from tunebook.models.methods import RENAMED_PLUGINS

NAMES = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}


class KeyList(TypedDict):
    """axolotl_keys.json: the version it is of; the model of each plugin, of the top level (`root`), and the
    kinds of value that each key of each model takes."""

    axolotl: str
    root: str
    plugins: dict[str, str]
    models: dict[str, dict[str, list[str]]]


@cache
def schema() -> KeyList:
    """Return the committed list made by scripts/list_axolotl_keys.py."""
    made: KeyList = json.loads((Path(__file__).parent / "axolotl_keys.json").read_text())
    return made


def check_keys(config: dict[str, Any], lines: Lines, file: str) -> list[Problem]:
    """Return a Problem for each unknown key or wrong type in `config`, at every level."""
    known = schema()
    allowed = dict(known["models"][known["root"]])
    problems = []
    plugins = config.get("plugins")
    for index, plugin in enumerate(plugins if isinstance(plugins, list) else []):
        if not isinstance(plugin, str):
            continue  # a wrong type, reported below
        if plugin in known["plugins"]:
            allowed |= known["models"][known["plugins"][plugin]]
        elif plugin in RENAMED_PLUGINS:
            text = f"this plugin has a new name (got {plugin!r}). Write {RENAMED_PLUGINS[plugin]}."
            where = ("plugins", index)
            problems.append(
                Problem(text, file, line_of(lines, where), dotted(where), "config.renamed_plugin")
            )
        elif not plugin.startswith("tunebook."):
            problems.append(
                Problem(
                    f"unknown plugin (got {plugin!r}). Known: {', '.join(known['plugins'])}. Add its "
                    "arguments to scripts/list_axolotl_keys.py and run that script.",
                    file,
                    line_of(lines, ("plugins", index)),
                    dotted(("plugins", index)),
                    "config.unknown_plugin",
                )
            )
    return problems + _check_mapping(config, allowed, (), lines, file)


def _check_mapping(
    value: dict[str, Any], allowed: dict[str, list[str]], path: Path_, lines: Lines, file: str
) -> list[Problem]:
    problems: list[Problem] = []
    for key, item in value.items():
        here = (*path, key)
        if key not in allowed:
            problems.append(
                Problem(
                    _unknown(str(key), allowed, path),
                    file,
                    line_of(lines, here),
                    dotted(here),
                    "config.unknown_key",
                )
            )
        else:
            problems += _check_value(item, allowed[key], here, lines, file)
    return problems


def _unknown(key: str, allowed: dict[str, list[str]], path: Path_) -> str:
    homes = sorted(name for name, keys in schema()["models"].items() if key in keys)
    if homes:
        where = "the top level" if schema()["root"] in homes else f"an entry of {', '.join(homes)}"
        plugins = [name for name, model in schema()["plugins"].items() if model in homes]
        if plugins and not path:
            return f"belongs to a plugin. Add {plugins[0]} to plugins, or remove the key."
        return f"not a key at this level; it belongs to {where}."
    close = difflib.get_close_matches(key, allowed, n=2, cutoff=0.7)
    if close:
        return f"unknown key. Did you mean {' or '.join(close)}?"
    return f"unknown to Axolotl {schema()['axolotl']}, which would ignore it. Remove it."


def _check_value(item: Any, kinds: list[str], path: Path_, lines: Lines, file: str) -> list[Problem]:
    if item is None or "any" in kinds:
        return []
    models = schema()["models"]
    if isinstance(item, dict):
        nested = [models[kind[6:]] for kind in kinds if kind.startswith("model:")]
        if nested:
            merged = {key: kind for model in nested for key, kind in model.items()}
            return _check_mapping(item, merged, path, lines, file)
        if "mapping" in kinds:
            return []
    elif isinstance(item, list):
        inner = [kind[5:] for kind in kinds if kind.startswith("list:")]
        if inner:
            found: list[Problem] = []
            for index, entry in enumerate(item):
                found += _check_value(entry, inner, (*path, index), lines, file)
            return found
    elif any(_is_scalar(item, kind) for kind in kinds):
        return []
    expected = " or ".join(sorted({_name(kind) for kind in kinds if kind != "null"}))
    text = f"expected {expected} (got {item!r})."
    return [Problem(text, file, line_of(lines, path), dotted(path), "config.wrong_type")]


def _is_scalar(item: Any, kind: str) -> bool:
    if kind == "bool":
        return isinstance(item, bool)
    if kind == "int":
        return isinstance(item, int) and not isinstance(item, bool)
    if kind == "float":
        return isinstance(item, int | float) and not isinstance(item, bool)
    return kind == "str" and isinstance(item, str)


def _name(kind: str) -> str:
    if kind.startswith("list:"):
        return "a list"
    return NAMES.get(kind, "a mapping")
