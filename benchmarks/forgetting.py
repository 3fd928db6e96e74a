"""Do the gates on forgetting and style find a fault, and does replay help? Planted and measured.

    .venv/bin/python benchmarks/forgetting.py [--recipe classify-lora]

Runs four variants of a recipe on the trial tier with EVAL=full: as shipped; over-trained (several times its
rate and epochs, all layers); and both with the general conversations of datasets/general mixed in. Runs land
below runs/forgetting/ and go on where they were stopped. Writes benchmarks/results/forgetting.json and the
table of docs/forgetting.md; exit 1 where the shipped variant fails a gate or the over-trained one passes all.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tunebook import hardware, recipes
from tunebook.paths import ROOT, runs_folder, show
from tunebook.run import read_json, write_json

TARGET = ROOT / "benchmarks" / "results" / "forgetting.json"
DOC = ROOT / "docs" / "forgetting.md"
START, END = "<!-- measured -->", "<!-- /measured -->"
GENERAL = {
    "path": "datasets/general/train.jsonl",
    "type": "chat_template",
    "field_messages": "messages",
    "ds_type": "json",
}
RATE, EPOCHS = 6, 3  # times what the recipe ships


def variants(recipe: recipes.Recipe) -> dict[str, tuple[bool, str]]:
    """Return whether each variant has replay, and its settings."""
    rate, epochs = recipe.trial["learning_rate"], recipe.trial["num_epochs"]
    over = f"learning_rate={rate * RATE:g} num_epochs={epochs * EPOCHS:g} peft_layers_to_transform=null"
    return {
        "shipped": (False, ""),
        "shipped-replay": (True, ""),
        "over-trained": (False, over),
        "over-trained-replay": (True, over),
    }


def run(recipe: recipes.Recipe, name: str, replay: bool, settings: str, folder: Path) -> dict[str, Any]:
    """Run one variant and return what was measured of it."""
    copy = folder / "recipes" / name
    copy.mkdir(parents=True, exist_ok=True)
    for path in recipe.folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    if replay:
        config = {**recipe.config, "datasets": [*recipe.config["datasets"], GENERAL]}
        (copy / "recipe.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    environment = {**os.environ, "TUNEBOOK_RECIPES": str(folder / "recipes"), "TUNEBOOK_RUNS": str(folder)}
    words = ["recipe", name, "--tier", "trial", "--hardware", "cpu", "--eval", "full", "--set", settings]
    code = subprocess.run([sys.executable, "-m", "tunebook.cli", *words], env=environment).returncode
    if code not in (0, 3):
        raise SystemExit(f"{name}: `tunebook {shlex.join(words)}` ended with exit code {code}.")
    found = read_json(folder / name / "latest" / "metrics.json")
    kept = ("sentence", "verdict", "primary", "retention", "style", "gates", "steps", "trained_tokens")
    value = found["contenders"]["tuned"][found["primary"]]
    return {"settings": settings, "replay": replay, "exit": code, "tuned": value} | {
        k: found[k] for k in kept
    }


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown table: a row for each gate on forgetting and style, a column a variant."""
    found = measured["variants"]
    primary = next(iter(found.values()))["primary"]
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    lines.append(f"| {primary} | " + " | ".join(f"{v['tuned']['value']:.1%}" for v in found.values()) + " |")
    gates: dict[str, dict[str, str]] = {}
    for name, variant in found.items():
        for gate in variant["gates"]:
            if gate["name"].startswith(("retention_", "style_")) and gate["value"] is not None:
                mark = {True: "", False: " fails", None: " (no part)"}[gate["passed"]]
                label = f"{gate['name']}, at most {gate['bound']:g}"
                gates.setdefault(label, {})[name] = f"{gate['value']:+.2f}{mark}"
    lines += [f"| {label} | " + " | ".join(g.get(n, "-") for n in found) + " |" for label, g in gates.items()]
    return "\n".join([*lines, "| exit code | " + " | ".join(str(v["exit"]) for v in found.values()) + " |"])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="classify-lora")
    name = parser.parse_args(argv).recipe
    recipe, folder = recipes.load(name), runs_folder().resolve() / "forgetting"
    measured: dict[str, Any] = {"recipe": name, "hardware": hardware.facts(), "variants": {}}
    for variant, (replay, settings) in variants(recipe).items():
        measured["variants"][variant] = run(recipe, f"{name}-{variant}", replay, settings, folder)
        write_json(TARGET, measured)
    before, _, rest = DOC.read_text(encoding="utf-8").partition(START)
    DOC.write_text(f"{before}{START}\n{table(measured)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(f"{show(TARGET)}, {show(DOC)}")
    failed = {
        variant: [gate["name"] for gate in found["gates"] if gate["passed"] is False]
        for variant, found in measured["variants"].items()
    }
    return int(bool(failed["shipped"]) or not failed["over-trained"])


if __name__ == "__main__":
    raise SystemExit(main())
