"""Read what is published: results of runs beside their recipes, and measured speeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.config.recipe import load_recipe, method, names
from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.report.format import number

BENCH = ROOT / "benchmarks" / "results" / "bench"  # what `tunebook bench` writes


def other_base(item: dict[str, Any]) -> list[str]:
    """Return the short name of a published result's base model, [] where it is the recipe's own."""
    return [item["other_base"]] if item.get("other_base") else []


def benched(recipe: str | None = None) -> list[dict[str, Any]]:
    """Return what `tunebook bench` measured on GPUs: of one recipe as it ships, or all of them."""
    found = [read_json(path) for path in sorted(BENCH.glob("*.json"))]
    found = [item for item in found if item["machine"]["gpus"]]
    return [item for item in found if recipe is None or (item["recipe"], item["label"]) == (recipe, "")]


def published(results: Path) -> list[dict[str, Any]]:
    """Return the published results in a recipe's results/ folder, by tier and seed."""
    found = [read_json(path) for path in sorted(results.glob("*.json"))]
    return sorted(found, key=lambda item: (item["tier"], item["seed"]))


def last_published(folder: Path) -> str | None:
    """Return the newest published result of a recipe folder in a few words, or None; one of the recipe's own
    base where there is one."""
    found = published(folder / "results")
    found = [item for item in found if not other_base(item)] or found
    if not found:
        return None
    last = max(found, key=lambda item: item["run"]["started"])
    metric = last["primary"]
    values = [last["contenders"][name][metric]["value"] for name in (last["baseline"], "tuned")]
    tier = ", ".join([last["tier"], *other_base(last)])
    return f"{tier}: {metric} {number(metric, values[0])} to {number(metric, values[1])}"


def recipe_table() -> list[dict[str, str]]:
    """Return one row a recipe: name, task, method, base model, data, last published result."""

    rows = []
    for name in names():
        recipe = load_recipe(name)
        dataset = load_dataset_config(recipe.dataset)
        rows.append(
            {
                "name": name,
                "task": dataset.task,
                "method": method(recipe.config),
                "base model": str(recipe.config.get("base_model")),
                "data": dataset.name,
                "last published result": last_published(ROOT / "recipes" / name) or "not measured",
            }
        )
    return rows
