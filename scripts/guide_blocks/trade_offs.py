"""Trade-offs."""

from __future__ import annotations

from typing import Any

from scripts.guide_blocks.registry import Sources, block
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.report import names
from tunebook.report.format import cell

BENCH = ROOT / "benchmarks" / "results" / "bench"
REPLAY = ("classify-lora without replay", "classify-lora with replay")
PLANTED = (*REPLAY, "over-trained", "averaged with its base")
TASKS = (REPLAY[0], "qa-lora", "chat-lora")


def _points(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def benched(sources: Sources) -> list[dict[str, Any]]:
    """Return what `make bench` measured on GPUs."""
    found = []
    for path in sorted(BENCH.glob("*.json")):
        item: dict[str, Any] = sources.json(path, "")
        words = {"SET": item["changed"], "LABEL": item["label"]}
        more = "".join(f' {name}="{value}"' for name, value in words.items() if value)
        sources.read[path] = f"make bench NAME={item['recipe']} WEIGHTS={item['weights']}{more}"
        found.append(item)
    return found


@block("trade-offs/compute-and-cost", "gpu")
def on_a_gpu(sources: Sources) -> str:
    """What was measured on GPUs, and what the plan says."""
    rows = []
    for item in benched(sources):
        ours = item["tunebook"]
        rows.append(
            {
                "recipe": f"{item['recipe']} {item['label']}".strip(),
                "GPU": item["machine"]["gpus"][0]["name"],
                "tokens/s": f"{ours['tokens_per_second']:,.0f}",
                "share of the GPU's peak": _points(ours["mfu"]),
                "memory reserved": f"{ours['reserved_gib']:.1f} GiB",
                "memory planned": f"{ours['plan']['peak_gib']:.1f} GiB",
            }
        )
    return markdown_table(rows)


@block("trade-offs/compute-and-cost", "tracked")
def tracked(sources: Sources) -> str:
    """Memory of one training step: planned, and counted tensor by tensor."""
    path = ROOT / "benchmarks" / "results" / "plan_calibration.json"
    found = sources.json(path, ".venv/bin/python -m benchmarks.plan_memory")["tracked"]
    return markdown_table(
        [
            {
                "one training step": what.rpartition("/")[2],
                "counted": f"{one['tracked_gib']:.1f} GiB",
                "planned": f"{one['plan_gib']:.1f} GiB",
            }
            for what, one in found.items()
        ]
    )


@block("trade-offs/compute-and-cost", "trial")
def trial(sources: Sources) -> str:
    """Minutes and memory of the trial tier."""
    rows = []
    for recipe in ("classify-lora", "classify-full", "qa-lora", "chat-lora", "chat-dpo"):
        run = sources.run(recipe)
        seconds = run["seconds"]
        rows.append(
            {
                "recipe": recipe,
                "training": f"{seconds['train'] / 60:.1f} min",
                "evaluation": f"{seconds['evaluate'] / 60:.1f} min",
                "peak": f"{run['peak_memory_gib']:.1f} GiB",
                "CPU": f"{run['hardware']['cpu']}, {run['hardware']['cores']} cores",
            }
        )
    return markdown_table(rows)


@block("trade-offs/catastrophic-forgetting", "planted")
def planted(sources: Sources) -> str:
    """A planted fault and two cures."""
    runs = sources.forgetting()
    rows = []
    for name in PLANTED:
        lost = {line["task"]: line for line in runs[name]["retention"]}
        rows.append(
            {
                "model": name,
                "accuracy on its own task": cell("accuracy", runs[name]["tuned"]),
                "general text, bits per byte": "{base:.2f} to {tuned:.2f}".format(**lost["general"]),
                **{
                    task: f"{_points(lost[task]['base'])} to {_points(lost[task]['tuned'])}"
                    for task in ("choices", "completions", "instructions")
                },
                "exit code": str(runs[name]["exit"]),
            }
        )
    return markdown_table(rows)


@block("trade-offs/overfitting-to-instruction-style", "conditions")
def conditions(sources: Sources) -> str:
    """The score with the trained prompt and with others."""
    runs = sources.forgetting()
    rows: dict[str, dict[str, str]] = {}
    for name in (*TASKS, REPLAY[1]):
        for one in runs[name]["style"]["conditions"]:
            row = rows.setdefault(one["condition"], {"prompt": one["condition"].replace("_", " ")})
            row[name] = f"{_points(one['reference'])} to {_points(one['value'])}"
    return markdown_table(list(rows.values()))


@block("trade-offs/overfitting-to-instruction-style", "openings")
def openings(sources: Sources) -> str:
    """How similar the answers are."""
    runs = sources.forgetting()
    return markdown_table(
        [
            {
                "recipe": name,
                "most frequent opening": runs[name]["style"]["opening"],
                "its share": _points(runs[name]["style"]["opening_share"]),
                "answers that repeat ten words of a training answer": _points(
                    runs[name]["style"]["copied_share"]
                ),
                names.metric("stop_rate"): _points(runs[name]["style"]["stop_rate"]),
            }
            for name in TASKS
        ]
    )
