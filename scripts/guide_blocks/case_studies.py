"""Case studies: what the published runs measured."""

from __future__ import annotations

from scripts.guide_blocks.registry import Sources, block
from tunebook.core.markdown import markdown_table
from tunebook.report import names
from tunebook.report.format import SHOWN, cell, number

PAGES = {"text-classification": "classify-lora", "question-answering": "qa-lora", "chatbot": "chat-lora"}


def _result(sources: Sources, recipe: str) -> str:
    run = sources.run(recipe)
    who = list(dict.fromkeys([names.TUNED, run["baseline"], *run["contenders"]]))
    rows = []
    for metric in SHOWN:
        cells = {
            names.contender(name, run["baseline"]): cell(metric, run["contenders"][name].get(metric))
            for name in who
        }
        if any(value != "-" for value in cells.values()):
            rows.append({"measured": f"{names.metric(metric)}, {names.direction(metric)}"} | cells)
    minutes = sum(run["seconds"].values()) / 60
    return (
        f"{markdown_table(rows)}\n\nVerdict: **{run['verdict']}**. The run took {minutes:.0f} minutes on "
        f"{run['hardware']['cores']} cores and at most {run['peak_memory_gib']:.1f} GiB."
    )


def file_scores(sources: Sources, recipe: str) -> str:
    """The score of each exported file of a recipe and of its run."""
    runs = sources.benchmark("export_parity")["runs"]
    files = next(run["exports"] for run in runs if run["recipe"] == recipe)
    return markdown_table(
        [
            {
                "file": one["artefact"],
                "measured by": names.metric(one["metric"]),
                "score of the run": number(one["metric"], one["run"]),
                "score of the file": number(one["metric"], one["value"]),
                "test rows": str(one["rows"]),
                "size": f"{one['bytes'] / 1e6:.0f} MB",
            }
            for one in files
        ]
    )


for page, recipe in PAGES.items():
    block(f"case-studies/{page}", "result")(lambda sources, recipe=recipe: _result(sources, recipe))
for page, recipe in {"text-classification": "classify-lora", "chatbot": "chat-lora"}.items():
    block(f"case-studies/{page}", "files")(lambda sources, recipe=recipe: file_scores(sources, recipe))


@block("case-studies/text-classification", "labels")
def labels(sources: Sources) -> str:
    """The labels with the lowest F1."""
    run = sources.run("classify-lora")
    worst = sorted(run["per_class"], key=lambda one: one["f1"])[:3]
    return markdown_table(
        [
            {
                "label": one["label"],
                "test rows": str(one["n"]),
                **{key: number("accuracy", one[key]) for key in ("precision", "recall", "f1")},
            }
            for one in worst
        ]
    )


@block("case-studies/question-answering", "abstains")
def abstains(sources: Sources) -> str:
    """A small model on thousands of public questions."""
    run = sources.run("qa-lora", "real")
    who = {"best prompt": run["baseline"], "fine-tuned": names.TUNED}
    return markdown_table(
        [
            {"measured": f"{names.metric(metric)}, {names.direction(metric)}"}
            | {title: cell(metric, run["contenders"][name].get(metric)) for title, name in who.items()}
            for metric in ("f1", "em", "stop_rate")
        ]
    )
