"""Write schemas/*.json, which editors use to complete and check the YAML files of this repository.

recipe.json and trial.json are built from tunebook/config/axolotl_keys.json, eval.json and dataset.json from
the models that read those files. A test runs this with --check.

    .venv/bin/python scripts/write_schemas.py [--check]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tunebook.config.keys import versions
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset
from tunebook.evaluation.suite import Suite

FOLDER = ROOT / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "null": "null"}
OWN_PLUGINS = ("LoftQ", "SeededInit", "TokenMean", "CPUArguments", "Float32Weights", "PreferencePrompts")


def kind(name: str) -> dict[str, Any]:
    """Return the schema of one type of axolotl_keys.json."""
    if name in PLAIN:
        return {"type": PLAIN[name]}
    if name == "mapping":
        return {"type": "object"}
    if name.startswith("list:"):
        return {"type": "array", "items": kind(name[5:])}
    if name.startswith("model:"):
        return {"$ref": f"#/$defs/{name[6:]}"}
    return {}


def value(kinds: list[str]) -> dict[str, Any]:
    """Return the schema of a value of any of `kinds`; null is always allowed, because it removes a key."""
    if "any" in kinds:
        return {}
    return {"anyOf": [kind(name) for name in dict.fromkeys([*kinds, "null"])]}


def mapping(by_version: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Return the schema of a model with the keys of all versions; keys that some versions lack are
    described."""
    properties: dict[str, Any] = {}
    for key in sorted({key for keys in by_version.values() for key in keys}):
        having = {version: keys[key] for version, keys in by_version.items() if key in keys}
        properties[key] = value([kind for kinds in having.values() for kind in kinds])
        if len(having) < len(versions()):
            properties[key]["description"] = f"only in Axolotl {', '.join(having)}"
    return {"type": "object", "properties": properties, "additionalProperties": False}


def recipe() -> dict[str, Any]:
    """Return the schema of recipe.yaml: the keys of Axolotl and its plugins, of all versions; `check` refuses
    those that the installed version lacks."""
    known = versions()
    newest = list(known.values())[-1]
    names = {name for one in known.values() for name in one["plugins"]}
    roots = {newest["root"], *(model for one in known.values() for model in one["plugins"].values())}
    whole = mapping(
        {
            version: {key: kinds for root in roots for key, kinds in one["models"].get(root, {}).items()}
            for version, one in known.items()
        }
    )
    plugins = [*sorted(names), *(f"tunebook.plugins.{name}" for name in OWN_PLUGINS)]
    whole["properties"]["plugins"] = {
        "type": ["array", "null"],
        "items": {"anyOf": [{"enum": plugins}, {"type": "string"}]},
    }
    inner = sorted({name for one in known.values() for name in one["models"]} - roots)
    nested = {name: mapping({v: one["models"].get(name, {}) for v, one in known.items()}) for name in inner}
    return {
        "$schema": DRAFT,
        "title": f"recipe.yaml: a config of Axolotl {' or '.join(known)}",
        **whole,
        "$defs": nested,
    }


def trial() -> dict[str, Any]:
    """Return the schema of trial.yaml: a recipe's keys, `rows` and `replay`."""
    whole = recipe()
    count = {"type": "integer", "minimum": 1}
    whole["title"] = "trial.yaml: what the trial tier changes"
    whole["properties"]["rows"] = {
        "type": "object",
        "properties": {split: count for split in ("train", "dev", "test")},
        "additionalProperties": False,
        "description": "how many rows of each split the trial tier takes",
    }
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    whole["properties"]["replay"] = {
        "anyOf": [{"const": "none"}, share, {"type": "null"}],
        "description": "rows of the second entry of datasets for each train row; none leaves it out",
    }
    return whole


def evaluation() -> dict[str, Any]:
    """Return the schema of eval.yaml and of the suites: each value may differ between the tiers, null
    removes one, and a value that is not given keeps the value of the suite."""
    whole = Suite.model_json_schema()
    del whole["properties"]["mode"]
    for model in [whole, *whole["$defs"].values()]:
        model.pop("required", None)
        for name, given in model.get("properties", {}).items():
            if "additionalProperties" in given:
                given["additionalProperties"] = {"anyOf": [given["additionalProperties"], {"type": "null"}]}
            tiers = {tier: given for tier in ("trial", "real")}
            by_tier = {"type": "object", "properties": tiers, "required": ["trial", "real"]}
            by_tier["additionalProperties"] = False
            model["properties"][name] = {"anyOf": [given, {"type": "null"}, by_tier]}
    about = "settings for runs that mix general conversations into training"
    whole["properties"]["with_replay"] = {"$ref": "#", "description": about}
    whole["title"] = "eval.yaml: how a run is evaluated"
    return {"$schema": DRAFT, **whole}


def dataset() -> dict[str, Any]:
    """Return the schema of dataset.yaml."""
    whole = Dataset.model_json_schema()
    del whole["properties"]["folder"]
    whole["required"].remove("folder")
    whole["title"] = "dataset.yaml: where rows come from, and how they become messages"
    return {"$schema": DRAFT, **whole}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if a file is out of date")
    options = parser.parse_args(argv)
    made = {"recipe": recipe(), "trial": trial(), "eval": evaluation(), "dataset": dataset()}
    old = []
    for name, schema in made.items():
        path: Path = FOLDER / f"{name}.json"
        text = json.dumps(schema, indent=1) + "\n"
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            old.append(path.name)
    if old:
        print(f"out of date: {', '.join(old)}: run this without --check")
    return 1 if old else 0


if __name__ == "__main__":
    raise SystemExit(main())
