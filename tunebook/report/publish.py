"""Published results: `tunebook results` copies a run's numbers into recipes/<name>/results/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tunebook.config.recipe import load_recipe
from tunebook.config.recipe import names as recipe_names
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem
from tunebook.core.files import read_json, write_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT, show, slug
from tunebook.metrics.schema import read_metrics
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.report import names
from tunebook.report.format import SHOWN, cell
from tunebook.report.markdown_blocks import fill
from tunebook.report.published import benched, other_base, published, recipe_table
from tunebook.runs.run import find

# Large parts of metrics.json; only the report of the run shows them, no card or table does.
UNREAD = ("details", "confusion")
FOLDERS = re.compile(r"(?<![^\s='\"])/(?:[^\s'\"/]+/)*")  # private details of whoever publishes

# The six recipes of README.md and what each teaches, in words that a newcomer would search for.
FRONT_PAGE = {
    "classify-lora": "sort messages into your labels by generating the label",
    "classify-head": "the same with a classification head: a score for every label, no text",
    "qa-lora": "answer a question from a passage, or say that it cannot be answered",
    "chat-lora": "answer over several turns in your style",
    "chat-dpo": "learn which of two answers is better",
    "chat-lora-8b": "chat-lora at real size, for one 80 GB GPU",
}


def publish(name: str | None, console: Console) -> int:
    """Write recipes/<recipe>/results/<tier>-<dataset>-<hardware>-seed<seed>.json from a finished run (with
    its base model before the hardware if it is not the recipe's own); fill the cards, recipes/README.md and
    the six rows of the front page from all published results. Without a name, only fill.

    Raises:
        InputError: no such run, or the run has not finished on the test split.
    """
    if name is not None:
        console.stage("results", show(_copy(name)))
    for recipe in recipe_names():
        folder = ROOT / "recipes" / recipe
        fill(folder / "README.md", "results", markdown(folder / "results"))
    fill(ROOT / "README.md", "recipes", front_page())
    fill(ROOT / "recipes" / "README.md", "recipes", shelf())
    fill(ROOT / "docs" / "plan.md", "bench", bench_table())
    console.stage(
        "results", "filled the cards and the tables of README.md, recipes/README.md and docs/plan.md"
    )
    return GOOD


def _copy(name: str) -> Path:
    run = find(name, "report")
    measured: Any = {**read_metrics(run / "metrics.json")}
    if measured["split"] != "test":
        text = "the run has not finished on the test split, so there is nothing to publish."
        raise InputError(Problem(text, show(run.folder), code="run.not_finished"))
    manifest: dict[str, Any] = {**run.manifest()}
    gpus = manifest["hardware"]["gpus"]
    machine = f"{len(gpus)}x{gpus[0]['name']}" if gpus else f"cpu-{manifest['hardware']['cores']}-cores"
    recipe, measured["model"] = load_recipe(measured["recipe"]), _named(measured["model"])
    own = (recipe.trial if measured["tier"] == "trial" else recipe.config).get("base_model")
    measured["other_base"] = None if measured["model"] == own else measured["model"].rpartition("/")[2]
    parts = [
        measured["tier"],
        measured["dataset"],
        *other_base(measured),
        machine,
        f"seed{measured['seed']}",
    ]
    path = recipe.folder / "results" / f"{'-'.join(map(slug, parts))}.json"
    path.parent.mkdir(exist_ok=True)
    kept = ("started", "commit", "lock", "versions", "command")
    lacking = [key for key in kept if key not in manifest]
    if lacking:
        text = f"lacks {', '.join(lacking)}: written by another version of Tunebook. Run the recipe again."
        raise InputError(Problem(text, show(run / "manifest.json"), code="run.other_version"))
    numbers = {key: value for key, value in measured.items() if key not in UNREAD}
    origin = {key: manifest[key] for key in kept}
    origin["command"] = FOLDERS.sub(".../", origin["command"])
    write_json(path, {**numbers, "run": origin})
    return path


def _named(model: str) -> str:
    """Return the public name of a model, even of one in a local folder."""
    if not Path(model).is_absolute():
        return model
    return read_json(Path(model) / "tunebook.json", {}).get("name") or Path(model).name


def front_page() -> str:
    """Return the table of FRONT_PAGE for README.md."""
    rows = {row["name"]: row for row in recipe_table()}
    return markdown_table(
        [
            {
                "recipe": f"[{name}](recipes/{name}/README.md)",
                "what it teaches": task,
                "base model, real tier": rows[name]["base model"].rpartition("/")[2],
                "best prompt of the base, then fine-tuned": rows[name]["last published result"],
            }
            for name, task in FRONT_PAGE.items()
        ]
    )


def shelf() -> str:
    """Return the table of all recipes for recipes/README.md."""
    return markdown_table(
        [
            {
                "recipe": f"[{row['name']}]({row['name']}/README.md)",
                "base model, real tier": row["base model"].rpartition("/")[2],
                "data, real tier": f"[{row['data']}](../datasets/{row['data']}/README.md)",
                "GPU: speed, peak memory": _gpu(row["name"]),
                "last published": row["last published result"],
            }
            for row in recipe_table()
        ]
    )


def bench_table() -> str:
    """Return the committed results as a Markdown table."""
    rows = []
    for item in benched():
        ours = item["tunebook"]
        rows.append(
            {
                "recipe": f"{item['recipe']} {item['label']}".strip(),
                "weights": item["weights"],
                "GPU": f"{item['world']} x {item['machine']['gpus'][0]['name']}",
                "tokens/s": f"{ours['tokens_per_second']:,.0f}",
                "MFU": f"{ours['mfu']:.1%}",
                "peak, plan (GiB)": f"{ours['reserved_gib']:.1f}, {ours['plan']['peak_gib']:.1f}",
                "compared with TRL": f"{item['ratio']:.2f} x" if "ratio" in item else "",
            }
        )
    return markdown_table(rows)


def _gpu(recipe: str) -> str:
    """Return the speed and memory that `tunebook bench` measured on GPUs for a recipe, in a few words."""
    words = []
    for item in benched(recipe):
        ours, card = item["tunebook"], item["machine"]["gpus"][0]["name"].removeprefix("NVIDIA ")
        weights = ", random weights" if item["weights"] == "random" else ""
        words.append(
            f"{ours['tokens_per_second']:,.0f} tokens/s, {ours['peak_gib']:.1f} GiB on {card}{weights}"
        )
    return "; ".join(words) or "not measured yet"


def markdown(results: Path) -> str:
    """Return the published results as a Markdown table for the recipe's card."""
    items = published(results)
    measures = [some for item in items for some in item["contenders"].values()]
    metrics = [name for name in SHOWN if any(cell(name, some.get(name)) != "-" for some in measures)]
    rows = []
    for item in items:
        cost = {
            "minutes": f"{sum(item['seconds'].values()) / 60:.1f}",
            "peak GiB": f"{item['peak_memory_gib']:.1f}",
        }
        for name in dict.fromkeys([names.TUNED, item["baseline"], *item["contenders"]]):
            measured = item["contenders"][name]
            rows.append(
                {
                    "tier": ", ".join([item["tier"], *other_base(item)]),
                    "seed": str(item["seed"]),
                    "model": names.contender(name, item["baseline"]),
                    **{names.metric(key): cell(key, measured.get(key)) for key in metrics},
                    **(cost if name == names.TUNED else dict.fromkeys(cost, "")),
                }
            )
    lower = [names.metric(key) for key in metrics if HIGHER_IS_BETTER[key] is False]
    direction = f"\n\nLower is better: {', '.join(lower)}. Higher is better: the rest." if lower else ""
    return markdown_table(rows) + direction if rows else "Not measured."
