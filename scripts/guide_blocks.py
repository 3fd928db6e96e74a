"""The measured blocks of docs/guide, each made from committed files (scripts/write_guide.py fills them)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.core.files import read_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.report import names
from tunebook.report.format import cell, number

RESULTS = ROOT / "benchmarks" / "results"


class Sources:
    """The committed files that a block reads, in their order, each with the command that makes it."""

    def __init__(self) -> None:
        self.read: dict[Path, str] = {}

    def json(self, path: Path, command: str) -> Any:
        self.read[path] = command
        return read_json(path)

    def benchmark(self, name: str) -> Any:
        """Return benchmarks/results/NAME.json."""
        return self.json(RESULTS / f"{name}.json", f"python benchmarks/{name}.py")

    def run(self, recipe: str, tier: str = "trial") -> dict[str, Any]:
        """Return the published run of a recipe with the recipe's own seed."""
        path = sorted((ROOT / "recipes" / recipe / "results").glob(f"{tier}-*-seed42.json"))[-1]
        measured: dict[str, Any] = read_json(path)
        self.read[path] = measured["run"]["command"]
        return measured

    def line(self, page: Path) -> str:
        """Return the line below a block that names its files and their commands."""
        parts = []
        for path, command in self.read.items():
            run = path.parent.name == "results" and path.is_relative_to(ROOT / "recipes")
            shown = f"the run of {path.parent.parent.name}" if run else path.relative_to(ROOT).as_posix()
            parts.append(f"[{shown}]({os.path.relpath(path, page.parent)}), made by `{command}`")
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


@block("why/prompting-limitations", "tried")
def prompts_tried(sources: Sources) -> str:
    """Every prompting of the base on dev, for one recipe of each task."""
    rows: dict[str, dict[str, str]] = {}
    for recipe in ("classify-lora", "qa-lora", "chat-lora"):
        run = sources.run(recipe)
        head = f"{recipe}: {names.metric(run['primary'])}, {names.direction(run['primary'])}"
        for name, value in run["dev"]["tried"].items():
            prompt = "plain prompt" if name == "base_generate_0" else names.prompting(name)
            rows.setdefault(prompt, {})[head] = number(run["primary"], value)
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    return markdown_table(
        [
            {"base model": prompt} | {head: row.get(head, "-") for head in heads}
            for prompt, row in rows.items()
        ]
    )


@block("why/prompting-limitations", "against")
def prompt_against_tuned(sources: Sources) -> str:
    """The best prompt and the fine-tuned model on test, and which prompt that was."""
    rows = []
    for recipe in ("classify-lora", "qa-lora", "chat-lora", "chat-dpo"):
        run = sources.run(recipe)
        metric, who, best = run["primary"], run["contenders"], run["baseline"]
        rows.append(
            {
                "recipe": recipe,
                "metric": f"{names.metric(metric)}, {names.direction(metric)}",
                "best prompt": f"{cell(metric, who[best][metric])}: {names.prompting(best)}",
                "fine-tuned": cell(metric, who[names.TUNED][metric]),
                "verdict": run["verdict"],
            }
        )
    return markdown_table(rows)


METHODS = {
    "full": "all weights",
    "head": "LoRA and a layer that scores the labels",
    "bottleneck": "small layers between the layers",
    "lora": "a low-rank update beside each linear layer",
    "dora": "LoRA, and a magnitude for each output",
    "qlora": "LoRA on a base model held in 4 bits",
    "ia3": "a factor for each key, value and inner activation",
    "prefix": "keys and values before the text, in every layer",
    "prompt": "embeddings before the text",
    "ptuning": "the same, made by a small network",
}


@block("types/index", "compared")
def methods_compared(sources: Sources) -> str:
    """Every method on one task with equal data, best first."""
    measured = sources.benchmark("methods")
    runs = {name.removeprefix("classify-"): seeds["42"] for name, seeds in measured["runs"].items()}
    rows = []
    for name, run in sorted(runs.items(), key=lambda item: -item[1]["accuracy"]["value"]):
        lost = run["retention"][0]["drop"] if run["retention"] else None
        rows.append(
            {
                "method": f"[{name}](../../../recipes/classify-{name}/README.md)",
                "what is trained": METHODS[name],
                "accuracy": cell("accuracy", run["accuracy"]),
                "trained weights": f"{run['weights']:,}",
                "on disk": f"{run['megabytes']:,.1f} MB",
                "training": f"{run['train_seconds']:.0f} s",
                "peak": f"{run['peak_memory_gib']:.1f} GiB",
                "general text": "-" if lost is None else f"{lost:+.0%}".replace("%", " %"),
            }
        )
    empty = dict.fromkeys(list(rows[0])[3:], "-")
    for label, value in runs["lora"]["beside"].items():
        rows.append({"method": label, "what is trained": "-", "accuracy": cell("accuracy", value)} | empty)
    return markdown_table(rows)
