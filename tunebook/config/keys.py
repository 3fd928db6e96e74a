"""Strict check of config keys and types against Axolotl's schema; Axolotl itself silently ignores unknown
keys."""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from tunebook.core.errors import Problem
from tunebook.core.files import AxolotlConfig
from tunebook.core.yaml_file import Lines, Path_, dotted, line_of
from tunebook.models import lanes
from tunebook.models.methods import OWN_PLUGINS, RENAMED_PLUGINS

NAMES = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}


Place = tuple[str, int | None, str]  # file, line, key
LIST = Path(__file__).parent / "axolotl_keys.json"


class KeyList(TypedDict):
    """The keys of one version of Axolotl: the model of each plugin, of the top level (`root`), the types that
    each key of each model accepts, and the values that keys of names accept: `optimizer`, `lr_scheduler` and
    `chat_template`."""

    root: str
    plugins: dict[str, str]
    models: dict[str, dict[str, list[str]]]
    names: dict[str, list[str]]


@cache
def versions() -> dict[str, KeyList]:
    """Return the committed key lists, written by scripts/list_axolotl_keys.py, by version, oldest first."""
    content = json.loads(LIST.read_text())
    return {name: of_version(content, name) for name in content if name[0].isdigit()}


def of_version(content: dict[str, Any], version: str) -> KeyList:
    """Return one version's key list from axolotl_keys.json: the part shared by all versions plus its own
    part."""
    common, own = content["common"], content[version]
    names = [*common["models"], *(name for name in own["models"] if name not in common["models"])]
    return {
        "root": content["root"],
        "plugins": {**common["plugins"], **own["plugins"]},
        "models": {
            name: dict(sorted({**common["models"].get(name, {}), **own["models"].get(name, {})}.items()))
            for name in sorted(names)
        },
        "names": {key: sorted([*some, *own["names"].get(key, [])]) for key, some in common["names"].items()},
    }


def schema() -> KeyList:
    """Return the key list of the installed Axolotl, or of the newest version listed."""
    known = versions()
    return known.get(lanes.axolotl(), list(known.values())[-1])


def known_names(key: str) -> list[str]:
    """Return the values that `optimizer`, `lr_scheduler` or `chat_template` accepts in the installed lane."""
    return schema()["names"][key]


def lane_of_name(key: str, name: Any) -> str:
    """Return "" or, in one sentence, which other version of Axolotl has this optimizer, schedule or
    template."""
    homes = [version for version, known in versions().items() if name in known["names"][key]]
    if not homes or name in known_names(key):
        return ""
    return f"Axolotl {homes[0]} has it and needs {lanes.python_of(homes[0])} (docs/lanes.md). "


def check_keys(config: AxolotlConfig, lines: Lines, file: str) -> list[Problem]:
    """Return a Problem for each unknown key or wrong type in `config`, at every level."""
    known = schema()
    allowed = dict(known["models"][known["root"]])
    problems = []
    plugins, names = config.get("plugins"), sorted({*known["plugins"], *OWN_PLUGINS})
    for index, plugin in enumerate(plugins if isinstance(plugins, list) else []):
        if not isinstance(plugin, str):
            continue  # a wrong type, reported below
        if plugin in known["plugins"]:
            allowed |= known["models"][known["plugins"][plugin]]
        elif plugin in RENAMED_PLUGINS:
            text = f"this plugin was renamed (got {plugin!r}). Write {RENAMED_PLUGINS[plugin]}."
            where = ("plugins", index)
            problems.append(
                Problem(text, file, line_of(lines, where), dotted(where), "config.renamed_plugin")
            )
        elif plugin not in OWN_PLUGINS:
            where = ("plugins", index)
            place = (file, line_of(lines, where), dotted(where))
            homes = [version for version, other in versions().items() if plugin in other["plugins"]]
            text = f"unknown plugin (got {plugin!r}). Known: {', '.join(names)}. Add its "
            text += "arguments to scripts/list_axolotl_keys.py and run that script."
            unknown = Problem(text, *place, code="config.unknown_plugin")
            problems.append(_of_other(homes[0], place) if homes else unknown)
    return problems + _check_mapping(config, allowed, (), lines, file)


def _check_mapping(
    value: dict[str, Any], allowed: dict[str, list[str]], path: Path_, lines: Lines, file: str
) -> list[Problem]:
    problems: list[Problem] = []
    for key, item in value.items():
        here = (*path, key)
        if key not in allowed:
            problems.append(_unknown(str(key), allowed, path, (file, line_of(lines, here), dotted(here))))
        else:
            problems += _check_value(item, allowed[key], here, lines, file)
    return problems


def _of_other(version: str, place: Place) -> Problem:
    text = (
        f"the installed Axolotl {lanes.axolotl()} does not have this key; Axolotl {version} has it and "
        f"needs {lanes.python_of(version)} (docs/lanes.md)."
    )
    return Problem(text, *place, code="config.other_lane")


def _has(known: KeyList, key: str, path: Path_) -> bool:
    models = known["models"] if path else [known["root"], *known["plugins"].values()]
    return any(key in known["models"][model] for model in models)


def _unknown(key: str, allowed: dict[str, list[str]], path: Path_, place: Place) -> Problem:
    homes = sorted(name for name, keys in schema()["models"].items() if key in keys)
    close = difflib.get_close_matches(key, allowed, n=2, cutoff=0.7)
    if homes:
        where = "the top level" if schema()["root"] in homes else f"an entry of {', '.join(homes)}"
        plugins = [name for name, model in schema()["plugins"].items() if model in homes]
        text = f"not allowed at this level; it belongs to {where}."
        if plugins and not path:
            text = f"this key belongs to a plugin. Add {plugins[0]} to plugins, or remove the key."
    elif others := [version for version, known in versions().items() if _has(known, key, path)]:
        return _of_other(others[0], place)
    elif close:
        text = f"unknown key. Did you mean {' or '.join(close)}?"
    else:
        text = f"unknown key; Axolotl {lanes.axolotl()} would ignore it. Remove it."
    return Problem(text, *place, code="config.unknown_key")


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
