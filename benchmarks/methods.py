"""Compare all methods on one task with equal data: score, trained weights, memory, time, size, forgetting.

    .venv/bin/python benchmarks/methods.py [--only classify-lora classify-ia3] [--rates]

On the trial tier, intents: every recipe as it ships, with EVAL=full; those in SEEDED with two more seeds.
Finished runs are reused, so a stopped benchmark resumes, and methods that `--only` leaves out keep their
entries.

With `--rates` the learning rates in RATES are tried on 60 dev rows after training on 120, without replay. The
lowest within one standard error of the best is proposed (Breiman et al. 1984, Classification and Regression
Trees, 3.4.3), since the whole training is five times as long. Recipes without a sweep of their own take it,
or a lower one if its run fails a gate of forgetting.

Writes benchmarks/results/methods.json, and the tables and the picture of docs/adapters.md. Nothing is chosen
on test.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
from pathlib import Path
from typing import Any

from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT, recipes_folder, show
from tunebook.hardware import machine
from tunebook.metrics.schema import Rate
from tunebook.pipeline.recipe import execute
from tunebook.report import figures
from tunebook.report.format import cell, number
from tunebook.report.markdown_blocks import fill
from tunebook.runs.checkpoints import ENCODER
from tunebook.runs.run import Run

TARGET = ROOT / "benchmarks" / "results" / "methods.json"
DOC, PICTURE = ROOT / "docs" / "adapters.md", ROOT / "docs" / "methods.svg"
RATES = {
    "classify-full": ("0.0001", "0.0002", "0.0004"),
    "classify-lora": ("0.0008", "0.0015", "0.003"),
    "classify-qlora": ("0.0008", "0.0015", "0.003"),
    "classify-dora": ("0.0008", "0.0015", "0.003"),
    "classify-bottleneck": ("0.0005", "0.001", "0.003"),
    "classify-ia3": ("0.003", "0.01", "0.03", "0.1", "0.3"),
    "classify-prefix": ("0.005", "0.02", "0.05"),
    "classify-prompt": ("0.01", "0.03", "0.1"),
    "classify-ptuning": ("0.001", "0.003", "0.01"),
    "classify-head": ("0.0005", "0.001", "0.003"),
}
SEED, MORE_SEEDS = 42, (1, 2)
SEEDED = ("classify-full", "classify-lora", "classify-head")  # those that guide/types/classifiers.md compares
FEW = "train=120,dev=60"
LENGTH = "num_virtual_tokens"


def saved_weights(files: list[Path]) -> int:
    """Return the number of weights in safetensors files, from their headers alone
    (https://huggingface.co/docs/safetensors: eight bytes of length, then JSON)."""
    total = 0
    for path in files:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                total += count
    return total


def options(settings: str, seed: int, **more: Any) -> Options:
    return Options(tier="trial", hardware="cpu", set=settings, seed=seed, **more)


def on_dev(run: Run) -> Rate:
    """Return the accuracy on dev of the model that an EVAL=quick run ships."""
    return read_json(run / "metrics.json")["contenders"]["tuned"]["accuracy"]


def entry(run: Run) -> dict[str, Any]:
    """Return the entry of a run, with its scores on test."""
    found = read_json(run / "metrics.json")
    files = list((run / "model").glob("*.safetensors"))
    # P-tuning trains a network; the embeddings that it produces ship.
    network = next((run / "train").glob(f"checkpoint-*/{ENCODER}"), None)
    chosen = (found["checkpoints"] or {}).get("dev", {})
    return {
        "accuracy": found["contenders"]["tuned"]["accuracy"],
        "beside": {
            "best prompt of the base": found["contenders"][found["baseline"]]["accuracy"],
            "a linear SVM": found["contenders"]["svm"]["accuracy"],
        },
        "p": next(c["p"] for c in found["comparisons"] if c["b"] == found["baseline"]),
        "dev": max(chosen.values()) if chosen else None,
        "weights": saved_weights([network] if network else files),
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "train_seconds": found["seconds"]["train"],
        "latency": found["latency"]["median"],
        "peak_memory_gib": found["peak_memory_gib"],
        "retention": [item for item in found["retention"] if item["task"] == "general"],
        "gates": {gate["name"]: gate["passed"] for gate in found["gates"]},
        "cpu": found["hardware"]["cpu"],
    }


def choose(tried: dict[str, Rate]) -> str:
    """Return the first of `tried` within one standard error of the best, computed for independent rows."""
    best = max(tried.values(), key=lambda measure: measure["value"])
    error = math.sqrt(best["value"] * (1 - best["value"]) / best["n"])
    return next(rate for rate, measure in tried.items() if measure["value"] >= best["value"] - error)


def swept(name: str, console: Console) -> dict[str, Any]:
    """Try the learning rates of a method on few rows."""
    tried = {
        rate: on_dev(
            execute(name, options(f"learning_rate={rate} replay=none", SEED, rows=FEW, eval="quick"), console)
        )
        for rate in RATES[name]
    }
    return {"dev": tried, "chosen": choose(tried), "cpu": machine.facts()["cpu"]}


def bench(names: list[str], rates: bool, console: Console) -> dict[str, Any]:
    """Run what is not finished and return all results, which are written to TARGET after each run."""
    measured: dict[str, Any] = (
        read_json(TARGET) if TARGET.exists() else {"few": FEW, "sweeps": {}, "runs": {}}
    )
    for name in names:
        if rates:
            measured["sweeps"][name] = swept(name, console)
            write_json(TARGET, measured)
        recipe = recipes.load_recipe(name)
        runs = measured["runs"][name] = {}
        for seed in (SEED, *(MORE_SEEDS if name in SEEDED else ())):
            run = execute(name, options("", seed, eval="full"), console)
            runs[str(seed)] = {"rate": f"{(recipe.config | recipe.trial)['learning_rate']:g}", **entry(run)}
            write_json(TARGET, measured)
    return measured


def percent(value: float, shape: str) -> str:
    return format(value, shape).replace("%", " %")


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown table for docs/adapters.md, best first; the accuracy of further seeds
    follows the interval of the first."""
    columns = (
        "method",
        "learning rate",
        "accuracy",
        "trained weights",
        "on disk",
        "training",
        "per answer",
        "peak",
    )
    lines = [f"| {' | '.join(columns)} | general text |", "|---" * (len(columns) + 1) + "|"]
    by_accuracy = sorted(measured["runs"].items(), key=lambda item: -item[1][str(SEED)]["accuracy"]["value"])
    for name, seeds in by_accuracy:
        first = seeds[str(SEED)]
        others = [percent(one["accuracy"]["value"], ".1%") for one in seeds.values() if one is not first]
        drop = first["retention"][0]["drop"] if first["retention"] else None
        lost = "not measured" if drop is None else percent(drop, "+.0%")
        cells = (
            f"[{name.removeprefix('classify-')}](../recipes/{name}/README.md)",
            first["rate"],
            cell("accuracy", first["accuracy"]) + (f"; {', '.join(others)}" if others else ""),
            f"{first['weights']:,}",
            f"{first['megabytes']:,.2f} MB",
            f"{first['train_seconds']:.0f} s",
            f"{first['latency'] * 1000:.0f} ms",
            f"{first['peak_memory_gib']:.1f} GiB",
            lost + (" (gate fails)" if False in first["gates"].values() else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    for label, value in first["beside"].items():
        lines.append(f"| {label} | - | {cell('accuracy', value)} |" + " - |" * (len(columns) - 2))
    return "\n".join(lines)


def rates_tried(measured: dict[str, Any]) -> str:
    """Return the Markdown table of all rates tried, in the order of RATES."""
    lines = ["| method | accuracy on dev after 120 rows | general text after all rows |", "|---|---|---|"]
    for name, sweep in measured["sweeps"].items():
        dev = ", ".join(f"{rate}: {percent(found['value'], '.0%')}" for rate, found in sweep["dev"].items())
        high = ", ".join(
            f"{rate}: " + ("not measured" if bound is None else f"at most {percent(bound, '+.0%')}")
            for rate, bound in sweep.get("retention", {}).items()
        )
        lines.append(f"| {name.removeprefix('classify-')} | {dev} | {high} |")
    return "\n".join(lines)


def lengths_tried() -> str:
    """Return the Markdown table of the committed sweeps over virtual tokens, with the trial tier's value."""
    lines = ["| recipe | on dev, by virtual tokens | taken |", "|---|---|---|"]
    for path in sorted(recipes_folder().glob(f"*/sweeps/trial-{LENGTH}.json")):
        swept, recipe = read_json(path), recipes.load_recipe(path.parent.parent.name)
        metric = swept["primary"]
        tried = [
            f"{at['values'][LENGTH]}: {number(metric, at['dev'][metric]['value'])}" for at in swept["points"]
        ]
        taken = (recipe.config | recipe.trial)[LENGTH]
        lines.append(f"| {recipe.name} | {metric}: {', '.join(tried)} | {taken} |")
    return "\n".join(lines)


def picture(measured: dict[str, Any]) -> str:
    """Return accuracy over trained weights as SVG."""
    shown = []
    for name, seeds in measured["runs"].items():
        first = seeds[str(SEED)]
        found = first["accuracy"]
        place = {"x": first["weights"], "y": found["value"], "low": found["low"], "high": found["high"]}
        shown.append({**place, "name": name.removeprefix("classify-")})
    return figures.points(
        {"methods": shown}, "trained weights", "accuracy on test, 95 % intervals", joined=False, names=True
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument("--rates", action="store_true", help="try the learning rates of RATES first")
    given = parser.parse_args(argv)
    measured = bench(given.only, given.rates, Console())
    fill(DOC, "methods", table(measured))
    fill(DOC, "rates", rates_tried(measured))
    fill(DOC, "lengths", lengths_tried())
    PICTURE.write_text(picture(measured), encoding="utf-8")
    print(", ".join(show(path) for path in (TARGET, DOC, PICTURE)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
