"""Test whether the gates on forgetting and style find a planted fault, and which remedies help.

    .venv/bin/python benchmarks/forgetting.py [--only NAME ...]

Runs classify-lora, qa-lora and chat-lora as shipped on the trial tier with EVAL=full; classify-lora without
replay and with several shares of it; and four more variants without replay:

- over-trained: several times its learning rate and epochs, in all layers;
- over-trained with an adapter of rank 2;
- over-trained with weight decay, which pulls an adapter towards the base model as L2-SP does (Li et al. 2018,
  arXiv 1802.01483);
- over-trained, then with half the scale of its adapter, which averages its weights with those of the base
  model (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903).

Finished runs are reused. --only runs some of them and keeps the others of the file, each with its own day and
machine. Public items are evaluated too if TUNEBOOK_TEST_DATA names their folder. Writes
benchmarks/results/forgetting.json and the tables of docs/forgetting.md. Exits with 1 if a recipe as shipped
fails a gate, or if the over-trained one passes all gates on forgetting.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tunebook.config import recipe as recipes
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT, runs_folder, show
from tunebook.data.dataset import load_dataset_config
from tunebook.report.format import number
from tunebook.report.markdown_blocks import fill

TARGET = ROOT / "benchmarks" / "results" / "forgetting.json"
DOC = ROOT / "docs" / "forgetting.md"
RATE, EPOCHS = 4, 2  # times those of the recipe
SHIPPED = ("classify-lora", "qa-lora", "chat-lora")
CURES = {  # added to the over-trained variant
    "rank 2": "lora_r=2 lora_alpha=4",  # alpha = 2r as in the recipe, so that the rank alone changes
    "weight decay 1": "weight_decay=1",  # some 600 steps of up to 0.0032: the first weights shrink to a third
}
SHARES = {"without replay": "none", "replay 1 %": "0.01", "replay 5 %": "0.05"}
SHARES |= {"replay 10 %": "0.1", "replay 20 %": "0.2"}
OVER, AVERAGED = "over-trained", "averaged with its base"
PLANTED = (OVER, *CURES, AVERAGED)
NAMES = (*SHIPPED, *SHARES, *PLANTED)


def over_trained(recipe: recipes.Recipe) -> str:
    """Return the settings of the over-trained variant."""
    rate, epochs = recipe.trial["learning_rate"], recipe.trial["num_epochs"]
    rates = f"learning_rate={rate * RATE:g} num_epochs={epochs * EPOCHS:g}"
    return f"{rates} peft_layers_to_transform=null replay=none"


def run(recipe: recipes.Recipe, name: str, settings: str, folder: Path) -> dict[str, Any]:
    """Run one variant and return its results."""
    copy = folder / "recipes" / name
    copy.mkdir(parents=True, exist_ok=True)
    for path in recipe.folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    words = ["recipe", name, "--hardware", "cpu", "--set", settings]
    return {"settings": settings} | tunebook(words, folder, name)


def tunebook(words: list[str], folder: Path, name: str) -> dict[str, Any]:
    """Run a command with EVAL=full on the trial tier and return the results of its run `name`."""
    words = [*words, "--tier", "trial", "--eval", "full"]
    environment = {**os.environ, "TUNEBOOK_RUNS": str(folder)}
    if (folder / "recipes").is_dir():
        environment["TUNEBOOK_RECIPES"] = str(folder / "recipes")
    code = subprocess.run([sys.executable, "-m", "tunebook.commands.cli", *words], env=environment).returncode
    if code not in (0, 3):
        raise SystemExit(f"`tunebook {shlex.join(words)}` ended with exit code {code}.")
    path = folder / name / "latest" / "metrics.json"
    found, day = read_json(path), date.fromtimestamp(path.stat().st_mtime)  # a finished run is older
    kept = ("sentence", "verdict", "primary", "retention", "style", "gates", "steps", "trained_tokens")
    value = found["contenders"]["tuned"][found["primary"]]
    return {"day": f"{day}", "exit": code, "tuned": value} | {key: found[key] for key in (*kept, "hardware")}


def averaged(recipe: recipes.Recipe, name: str, folder: Path) -> dict[str, Any]:
    """Evaluate the fine-tuned model of variant `name`, averaged with its base model."""
    model = folder / "models" / f"{name}-averaged"
    shutil.copytree(folder / name / "latest" / "model", model, dirs_exist_ok=True)
    shape = json.loads((folder / name / "latest" / "model" / "adapter_config.json").read_text())
    (model / "adapter_config.json").write_text(json.dumps({**shape, "lora_alpha": shape["lora_alpha"] / 2}))
    dataset = load_dataset_config(recipe.dataset).stand_in or recipe.dataset
    words = ["evaluate", "--model", str(model), "--task", dataset]
    return {"settings": "lora_alpha / 2"} | tunebook(words, folder, f"evaluate-{model.name}")


def table(measured: dict[str, Any], names: Sequence[str] = PLANTED) -> str:
    """Return the Markdown table: a row per task and condition, a column per run of `names` that was measured.
    A cell has the values of the base and the fine-tuned model, and the upper end of the interval of the drop,
    which must be within the margin."""
    found = {name: measured["runs"][name] for name in names if name in measured["runs"]}
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    lines.append("| measured | " + " | ".join(v["day"] for v in found.values()) + " |")
    scores = [f"{v['primary']} {number(v['primary'], v['tuned']['value'])}" for v in found.values()]
    lines.append("| score | " + " | ".join(scores) + " |")
    rows: dict[str, dict[str, str]] = {}
    for name, variant in found.items():
        tasks = [(f"retention: {r['task']}", r["base"], r["tuned"], r) for r in variant["retention"]]
        style = [s for s in variant["style"]["conditions"] if s["condition"] in ("paraphrased", "other_task")]
        tasks += [(f"style: {s['condition']}", s["reference"], s["value"], s) for s in style]
        for task, before, after, item in tasks:
            bound = f"at most {item['margin']:g}" if item["margin"] is not None else "no gate"
            part = "" if item.get("takes_part", True) else ", at chance"
            mark = ", **fails**" if item["passed"] is False else part
            rows.setdefault(f"{task}, {bound}", {})[name] = (
                f"{before:.2f} to {after:.2f}: {item['high']:+.2f}{mark}"
            )
    lines += [f"| {label} | " + " | ".join(r.get(n, "-") for n in found) + " |" for label, r in rows.items()]
    return "\n".join([*lines, "| exit code | " + " | ".join(str(v["exit"]) for v in found.values()) + " |"])


def run_named(name: str, folder: Path) -> dict[str, Any]:
    """Run one of NAMES and return its results."""
    recipe = recipes.load_recipe(SHIPPED[0])
    if name in SHIPPED:
        return {"settings": ""} | tunebook(["recipe", name], runs_folder(), name)
    if name in SHARES:
        # A share in SET makes the same run as the same share in trial.yaml, so the shipped one is reused.
        settings = f"replay={SHARES[name]}"
        words = ["recipe", recipe.name, "--set", settings]
        return {"settings": settings} | tunebook(words, runs_folder(), recipe.name)
    if name == AVERAGED:
        return averaged(recipe, OVER, folder)
    settings = f"{over_trained(recipe)} {CURES.get(name, '')}".strip()
    return run(recipe, name.replace(" ", "-"), settings, folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    args = parser.parse_args(argv)
    kept = read_json(TARGET, {"runs": {}})["runs"] if args.only is not NAMES else {}
    runs: dict[str, Any] = {name: kept[name] for name in NAMES if name in kept}
    for name in args.only:
        runs[name] = run_named(name, runs_folder().resolve() / "forgetting")
        write_json(TARGET, {"runs": {name: runs[name] for name in NAMES if name in runs}})
    measured = read_json(TARGET)
    fill(DOC, "shipped", table(measured, SHIPPED))
    fill(DOC, "shares", table(measured, tuple(SHARES)))
    fill(DOC, "measured", table(measured))
    print(f"{show(TARGET)}, {show(DOC)}")
    failed = {
        name: [gate["name"] for gate in found["gates"] if gate["passed"] is False]
        for name, found in runs.items()
    }
    passed = OVER in failed and not any(gate.startswith("retention_") for gate in failed[OVER])
    return int(passed or any(failed.get(name) for name in SHIPPED))


if __name__ == "__main__":
    raise SystemExit(main())
