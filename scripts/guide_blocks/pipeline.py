"""Pipeline."""

from __future__ import annotations

import re
from collections import Counter

from scripts.guide_blocks.registry import Sources, block
from tunebook.core.files import read_jsonl
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.report import names
from tunebook.report.format import number

GROUPS = {
    "kettlewick-intents": "customer",
    "kettlewick-handbook": "passage",
    "kettlewick-chat": "id",
    "kettlewick-preference": "conversation",
}


def _source(dataset: str, split: str) -> str:
    return f"datasets/{dataset}/source/{split}.jsonl"


@block("pipeline/data-collection-and-formatting", "rows")
def good_rows(sources: Sources) -> str:
    """The first row of each label."""
    path = ROOT / _source("kettlewick-intents", "train")
    sources.read[path] = ""
    first: dict[str, dict[str, str]] = {}
    for row in read_jsonl(path):
        first.setdefault(row["label"], {key: row[key] for key in ("customer", "text", "label")})
    return markdown_table(list(first.values())[:6])


@block("pipeline/data-collection-and-formatting", "groups")
def groups(sources: Sources) -> str:
    """How many rows and groups each split of our datasets has."""
    rows = []
    for dataset, group in GROUPS.items():
        row = {"dataset": f"[{dataset}](../../../datasets/{dataset}/README.md)", "group": group}
        for split in ("train", "dev", "test"):
            path = ROOT / _source(dataset, split)
            sources.read[path] = ""
            seen = Counter(str(one[group]) for one in read_jsonl(path))
            row[f"{split}: rows"], row[f"{split}: groups"] = str(seen.total()), str(len(seen))
        rows.append(row)
    return markdown_table(rows)


@block("pipeline/data-collection-and-formatting", "mutations")
def mutations(sources: Sources) -> str:
    """What became of files with a randomly changed layout."""
    found = sources.benchmark("mutations")
    lines = [
        {"files with a randomly changed layout": "read, with the rows of the original", "": "equal"},
        {"files with a randomly changed layout": "refused, with a message", "": "refused"},
        {"files with a randomly changed layout": "read with other rows", "": "wrong"},
    ]
    return markdown_table([{**line, "": str(found[line[""]])} for line in lines])


@block("pipeline/preprocessing-and-tokenization", "row")
def shown_row(sources: Sources) -> str:
    """A row as the model sees it. The output is recorded, because the command takes a minute."""
    path = ROOT / "docs" / "guide" / "recorded" / "shown-row.txt"
    sources.read[path] = ""
    return f"```text\n{path.read_text(encoding='utf-8').strip()}\n```"


def _blocks_of(recipe: str) -> dict[str, str]:
    """Return the titled blocks of a recipe.yaml."""
    text = (ROOT / "recipes" / recipe / "recipe.yaml").read_text(encoding="utf-8")
    parts = re.split(r"^# ([A-Z][^\n:.]*)\n(?=[a-z_0-9]+:)", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _recipe_block(title: str) -> None:
    @block("pipeline/training-set-up-and-config", title.lower().replace(" ", "-"))
    def show(sources: Sources) -> str:
        sources.read[ROOT / "recipes" / "classify-lora" / "recipe.yaml"] = ""
        return f"```yaml\n{_blocks_of('classify-lora')[title].strip()}\n```"


for each in ("Model", "Adapter", "Data", "Length and batch", "Optimizer", "Precision and memory"):
    _recipe_block(each)


@block("pipeline/training-set-up-and-config", "sweep")
def learning_rates(sources: Sources) -> str:
    """The score on dev by learning rate."""
    rows = []
    for recipe in ("classify-lora", "qa-lora", "chat-lora", "chat-dpo", "chat-full"):
        path = ROOT / "recipes" / recipe / "sweeps" / "trial-learning_rate.json"
        swept = sources.json(path, f'make sweep NAME={recipe} OVER="learning_rate=..."')
        metric = swept["primary"]
        rows.append(
            {
                "recipe": recipe,
                "measured by": f"{names.metric(metric)}, {names.direction(metric)}",
                "learning rate: score on dev": ", ".join(
                    f"{point['values']['learning_rate']}: {number(metric, point['dev'][metric]['value'])}"
                    for point in swept["points"]
                ),
            }
        )
    return markdown_table(rows)


@block("pipeline/evaluation-and-checkpoints", "checkpoints")
def checkpoints(sources: Sources) -> str:
    """The score of each kept checkpoint on dev, and of the one that ships on test."""
    rows = []
    for recipe in ("classify-lora", "qa-lora", "chat-lora", "chat-dpo"):
        run = sources.run(recipe)
        kept, metric = run["checkpoints"], run["primary"]
        rows.append(
            {
                "recipe": recipe,
                "measured by": f"{names.metric(metric)}, {names.direction(metric)}",
                "step: dev": ", ".join(f"{step}: {number(metric, v)}" for step, v in kept["dev"].items()),
                "ships": f"step {kept['shipped']}",
                "on test": number(metric, run["contenders"][names.TUNED][metric]["value"]),
            }
        )
    return markdown_table(rows)
