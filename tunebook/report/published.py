"""Read published data: results of runs, stored with their recipes, and measured speeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tunebook.config.recipe import load_recipe, method, names
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.metrics.schema import GateLine, Measured
from tunebook.report.format import number
from tunebook.report.names import gate
from tunebook.runs.records import read

BENCH = ROOT / "benchmarks" / "results" / "bench"  # written by `tunebook bench`


class Origin(TypedDict):
    """The fields used from the manifest that is published with a run's numbers."""

    started: str
    versions: dict[str, str]


class Published(TypedDict):
    """The fields used from a file in recipes/<name>/results/, whatever version wrote it (all fields:
    tunebook/metrics/schema.py). `other_base` is the short name of a base model that is not the recipe's own.
    """

    recipe: str
    tier: str
    seed: int
    split: str
    primary: str
    model: str
    dataset: str
    rows_sha256: str
    hardware: dict[str, Any]
    contenders: dict[str, dict[str, Measured]]
    baseline: str
    seconds: dict[str, float]
    peak_memory_gib: float | None
    other_base: NotRequired[str | None]
    gates: list[GateLine]
    run: Origin


class Gpu(TypedDict):
    """A GPU in the machine of a benchmark."""

    name: str


class Machine(TypedDict):
    """The machine of a benchmark."""

    gpus: list[Gpu]


class Predicted(TypedDict):
    """The prediction of `tunebook plan` for the benchmark."""

    peak_gib: float


class Speed(TypedDict):
    """Training speed and memory with Tunebook."""

    tokens_per_second: float
    mfu: float
    peak_gib: float
    reserved_gib: float
    plan: Predicted


class Bench(TypedDict):
    """A file of benchmarks/results/bench/; `ratio` is the speed relative to TRL."""

    recipe: str
    label: str
    weights: str
    world: int
    machine: Machine
    tunebook: Speed
    ratio: NotRequired[float]


_PUBLISHED, _BENCH = TypeAdapter(Published), TypeAdapter(Bench)


def other_base(item: Published) -> list[str]:
    """Return the short name of a published result's base model, or [] if it is the recipe's own."""
    name = item.get("other_base")
    return [name] if name else []


def benched(recipe: str | None = None) -> list[Bench]:
    """Return the results of `tunebook bench` on GPUs: those of one unmodified recipe, or all of them."""
    found = [read(path, _BENCH) for path in sorted(BENCH.glob("*.json"))]
    found = [item for item in found if item["machine"]["gpus"]]
    return [item for item in found if recipe is None or (item["recipe"], item["label"]) == (recipe, "")]


def published(results: Path) -> list[Published]:
    """Return the published results in a recipe's results/ folder, by tier and seed.

    Raises:
        InputError: a file is damaged or of another version.
    """
    found = [read(path, _PUBLISHED) for path in sorted(results.glob("*.json"))]
    return sorted(found, key=lambda item: (item["tier"], item["seed"]))


def last_published(folder: Path) -> str | None:
    """Return the newest published result of a recipe folder in a few words, preferring the recipe's own base
    model, or None. A recipe whose run failed a gate is an experiment, and says so."""
    found = published(folder / "results")
    found = [item for item in found if not other_base(item)] or found
    if not found:
        return None
    last = max(found, key=lambda item: item["run"]["started"])
    metric = last["primary"]
    values = [last["contenders"][name][metric]["value"] for name in (last["baseline"], "tuned")]
    tier = ", ".join([last["tier"], *other_base(last)])
    text = f"{tier}: {metric} {number(metric, values[0])} to {number(metric, values[1])}"
    failed = [gate(one["name"]) for one in last["gates"] if one["passed"] is False]
    return f"{text} (experiment: fails a gate, {', '.join(failed)})" if failed else text


def _last_published(folder: Path) -> str:
    try:
        return last_published(folder) or "not measured"
    except InputError as error:  # one damaged file must not hide the other recipes
        return f"left out: {error.problems[0]}"


def recipe_table() -> list[dict[str, str]]:
    """Return one row per recipe: name, task, method, base model, data, last published result."""

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
                "last published result": _last_published(ROOT / "recipes" / name),
            }
        )
    return rows
