"""Types of fine-tuning."""

from __future__ import annotations

from typing import Any

from scripts.guide_blocks.registry import Sources, block
from tunebook.core.files import read_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.report import names
from tunebook.report.format import cell, number

SEED = "42"
METHODS = {
    "full": "all weights",
    "head": "LoRA and a layer that scores the labels",
    "bottleneck": "small layers after attention and MLP",
    "lora": "a low-rank update to each linear layer",
    "dora": "LoRA, and a magnitude for each output",
    "qlora": "LoRA on a 4-bit base model",
    "ia3": "a factor for each key, value and inner activation",
    "prefix": "keys and values before the text, in every layer",
    "prompt": "embeddings before the text",
    "ptuning": "embeddings before the text, from a small network",
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


def method_runs(sources: Sources) -> dict[str, dict[str, Any]]:
    """Return the run of each method with the recipes' own seed."""
    runs = sources.benchmark("methods")["runs"]
    return {name.removeprefix("classify-"): seeds[SEED] for name, seeds in runs.items()}


def _measured(sources: Sources, *methods: str) -> str:
    runs = method_runs(sources)
    return markdown_table(
        [
            {
                "method": f"[{name}](../../../recipes/classify-{name}/README.md)",
                "accuracy": cell("accuracy", runs[name]["accuracy"]),
                "trained weights": f"{runs[name]['weights']:,}",
                "on disk": f"{runs[name]['megabytes']:,.1f} MB",
                "peak": f"{runs[name]['peak_memory_gib']:.1f} GiB",
                "per answer": f"{runs[name]['latency'] * 1000:.0f} ms",
                "learning rate": runs[name]["rate"],
            }
            for name in methods
        ]
    )


@block("types/full-fine-tuning", "measured")
def full(sources: Sources) -> str:
    """Cost and accuracy of full fine-tuning and LoRA."""
    return _measured(sources, "full", "lora")


@block("types/full-fine-tuning", "tasks")
def full_on_other_tasks(sources: Sources) -> str:
    """The published runs of both methods on each task."""
    rows = []
    for task in ("classify", "qa", "chat"):
        row: dict[str, str] = {}
        for method in ("full", "lora"):
            run = sources.run(f"{task}-{method}")
            metric = run["primary"]
            row |= {"task": task, "measured by": f"{names.metric(metric)}, {names.direction(metric)}"}
            row[method] = cell(metric, run["contenders"][names.TUNED][metric])
            row[f"peak, {method}"] = f"{run['peak_memory_gib']:.1f} GiB"
        rows.append(row)
    return markdown_table(rows)


@block("types/adapter-based-tuning", "measured")
def adapters(sources: Sources) -> str:
    return _measured(sources, "bottleneck", "ia3", "head", "lora")


@block("types/lora", "measured")
def lora(sources: Sources) -> str:
    return _measured(sources, "lora", "dora", "qlora")


@block("types/lora", "rank")
def rank(sources: Sources) -> str:
    """The over-trained model at rank 16 and at rank 2."""
    runs = sources.forgetting()
    return markdown_table(
        [
            {
                "rank": rank,
                "accuracy": cell("accuracy", runs[name]["tuned"]),
                "general text, bits per byte: base, then fine-tuned": "{base:.2f}, {tuned:.2f}".format(
                    **runs[name]["retention"][0]
                ),
            }
            for rank, name in (("16", "over-trained"), ("2", "rank 2"))
        ]
    )


@block("types/prefix-and-prompt-tuning", "measured")
def virtual_tokens(sources: Sources) -> str:
    return _measured(sources, "prefix", "prompt", "ptuning", "lora")


@block("types/prefix-and-prompt-tuning", "lengths")
def lengths(sources: Sources) -> str:
    """The score on dev by the number of virtual tokens."""
    rows = []
    for path in sorted((ROOT / "recipes").glob("*/sweeps/trial-num_virtual_tokens.json")):
        recipe, swept = path.parent.parent.name, read_json(path)
        values = ",".join(point["values"]["num_virtual_tokens"] for point in swept["points"])
        command = f'make sweep NAME={recipe} OVER="num_virtual_tokens={values}"'
        swept = sources.json(path, command)
        metric = swept["primary"]
        rows.append(
            {"recipe": recipe, "measured by": f"{names.metric(metric)}, {names.direction(metric)}"}
            | {
                point["values"]["num_virtual_tokens"]: number(metric, point["dev"][metric]["value"])
                for point in swept["points"]
            }
        )
    every = sorted({key for row in rows for key in row if key.isdigit()}, key=int)
    fixed = ("recipe", "measured by")
    return markdown_table(
        [{key: row[key] for key in fixed} | {size: row.get(size, "-") for size in every} for row in rows]
    )


@block("types/classifiers", "classifiers")
def classifiers(sources: Sources) -> str:
    """Four ways to a label and the free SVM, with the accuracy of every seed that was run."""
    lora, head = sources.seeds("classify-lora"), sources.run("classify-head")["contenders"]
    full = sources.run("classify-full")["contenders"][names.TUNED]
    bench = sources.benchmark("methods")["runs"]

    def row(way: str, accuracies: list[float], invalid: str, error: str = "-") -> dict[str, str]:
        return {
            "way to a label": way,
            "accuracy, mean": number("accuracy", sum(accuracies) / len(accuracies)),
            "of each seed": ", ".join(number("accuracy", value) for value in accuracies),
            "invalid answers": invalid,
            "calibration error": error,
        }

    def of_lora(contender: str, metric: str) -> list[float]:
        return [run["contenders"][contender][metric]["value"] for run in lora.values()]

    def of_bench(recipe: str) -> list[float]:
        return [run["accuracy"]["value"] for run in bench[recipe].values()]

    def link(recipe: str) -> str:
        return f"[{recipe}](../../../recipes/{recipe}/README.md)"

    errors, invalid = of_lora("tuned_rank_0", "ece_15"), max(of_lora(names.TUNED, "invalid_rate"))
    return markdown_table(
        [
            row(
                f"generate: {link('classify-lora')}",
                of_lora(names.TUNED, "accuracy"),
                number("invalid_rate", invalid),
            ),
            row(
                "rank: the same models",
                of_lora("tuned_rank_0", "accuracy"),
                "impossible",
                f"{sum(errors) / len(errors):.3f}",
            ),
            row(
                f"head: {link('classify-head')}",
                of_bench("classify-head"),
                "impossible",
                f"{head[names.TUNED]['ece_15']['value']:.3f}",
            ),
            row(
                f"full: {link('classify-full')}",
                of_bench("classify-full"),
                number("invalid_rate", full["invalid_rate"]["value"]),
            ),
            row("a linear SVM", [head["svm"]["accuracy"]["value"]], "impossible"),
        ]
    )
