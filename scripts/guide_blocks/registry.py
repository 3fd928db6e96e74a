"""A block of the guide: text generated from committed files, and the line below it that names them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.hardware import gpus

RESULTS = ROOT / "benchmarks" / "results"


class Sources:
    """The committed files that a block reads, in order, each with the command that produces it."""

    def __init__(self) -> None:
        self.read: dict[Path, str] = {}

    def json(self, path: Path, command: str) -> Any:
        self.read[path] = command
        return read_json(path)

    def benchmark(self, name: str) -> Any:
        """Return benchmarks/results/NAME.json."""
        return self.json(RESULTS / f"{name}.json", f".venv/bin/python benchmarks/{name}.py")

    def api_price(self, name: str) -> gpus.ApiPrice:
        """Return the price of a model behind an API."""
        self.read[ROOT / gpus.API_FILE] = ""
        return gpus.api_prices()[name]

    def forgetting(self) -> dict[str, Any]:
        """Return the runs of benchmarks/results/forgetting.json by label."""
        runs: dict[str, Any] = self.benchmark("forgetting")["runs"]
        renamed = {
            "classify-lora": "classify-lora with replay",
            "without replay": "classify-lora without replay",
        }
        return {renamed.get(name, name): run for name, run in runs.items()}

    def run(self, recipe: str, tier: str = "trial") -> dict[str, Any]:
        """Return the published run of a recipe with the recipe's own seed."""
        path = sorted((ROOT / "recipes" / recipe / "results").glob(f"{tier}-*-seed42.json"))[-1]
        measured: dict[str, Any] = read_json(path)
        self.read[path] = measured["run"]["command"]
        return measured

    def seeds(self, recipe: str) -> dict[int, dict[str, Any]]:
        """Return the published trial runs of a recipe by seed."""
        runs = {}
        for path in sorted((ROOT / "recipes" / recipe / "results").glob("trial-*.json")):
            measured: dict[str, Any] = read_json(path)
            self.read[path] = measured["run"]["command"]
            runs[int(measured["seed"])] = measured
        return runs

    def line(self, page: Path) -> str:
        """Return the line below a block that names its files and their commands."""
        parts = []
        for path, command in self.read.items():
            inside = path.relative_to(ROOT)
            shown = inside.as_posix()
            if inside.match("recipes/*/results/*.json"):
                shown = f"the run of {inside.parts[1]}"
            elif inside.match("datasets/*/source/*"):
                shown = f"{inside.parts[1]}/{inside.name}"
            short = command if len(command) <= 60 else f"{command[:60].rpartition(' ')[0]} ..."
            made_by = f", made by `{short}`" if command else ""
            parts.append(f"[{shown}]({os.path.relpath(path, page.parent)}){made_by}")
        return f"*From {'; '.join(parts)}.*"


Maker = Callable[[Sources], str]
BLOCKS: dict[tuple[str, str], Maker] = {}


def block(page: str, name: str) -> Callable[[Maker], Maker]:
    def keep(make: Maker) -> Maker:
        BLOCKS[page, name] = make
        return make

    return keep


def made(page: str, name: str) -> str:
    """Return a block with the line that names its sources."""
    sources = Sources()
    text = BLOCKS[page, name](sources)
    return f"{text}\n\n{sources.line(ROOT / 'docs' / 'guide' / f'{page}.md')}"


def percent(value: float, digits: int = 0) -> str:
    return f"{value * 100:.{digits}f} %"
