"""Why fine-tune?"""

from __future__ import annotations

from scripts.guide_blocks.registry import Sources, block
from tunebook.core.markdown import markdown_table
from tunebook.evaluation.contenders import TUNED_RANKED
from tunebook.report import names
from tunebook.report.format import cell, number

API = "gpt-5.6-luna"  # of the prices, the smallest model


@block("why/prompting-limitations", "tried")
def prompts_tried(sources: Sources) -> str:
    """Scores on dev of every prompt of the base model, for one recipe per task."""
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
    """The best prompt and the fine-tuned model on test."""
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


@block("why/prompting-limitations", "shots")
def growing_shots(sources: Sources) -> str:
    """Few-shot prompting with a growing number of examples, the best prompt and the fine-tuned model."""
    found = sources.benchmark("growing_k")
    api = sources.api_price(API)
    rows = []
    for shots in dict.fromkeys(line["shots"] for line in found["lines"]):
        written, ranked = (
            next(line for line in found["lines"] if (line["shots"], line["method"]) == (shots, method))
            for method in ("generate", "rank")
        )
        tokens = written["prompt_tokens"]
        price = (tokens * api.input + found["answer_tokens"] * api.output) / 1000
        rows.append(
            {
                "examples": str(shots),
                "accuracy, text written": cell("accuracy", written["accuracy"]),
                "accuracy, label ranked": cell("accuracy", ranked["accuracy"]),
                "tokens of the prompt": f"{tokens:.0f}",
                "seconds: written, ranked": "{:.1f}, {:.1f}".format(
                    *(line["processor_seconds"] for line in (written, ranked))
                ),
                "price of 1,000": f"${price:.3f}",
            }
        )
    run = sources.run(found["recipe"])
    accuracy = {name: cell("accuracy", one.get("accuracy")) for name, one in run["contenders"].items()}
    same = ("accuracy, text written", "accuracy, label ranked")
    last = {
        "0, fine-tuned": (accuracy[names.TUNED], accuracy[TUNED_RANKED.name]),
        f"0, {names.contender(names.SVM)}": ("-", accuracy[names.SVM]),
    }
    rest = dict.fromkeys(list(rows[0])[3:], "-")
    tuned = {
        "tokens of the prompt": rows[0]["tokens of the prompt"],  # the same plain prompt
        "seconds: written, ranked": f"{run['latency']['median']:.1f} elapsed, -",
    }
    for what, values in last.items():
        more = tuned if what == "0, fine-tuned" else {}
        rows.append({"examples": what} | dict(zip(same, values, strict=True)) | rest | more)
    return (
        f"{markdown_table(rows)}\n\nBase model: {found['rows']} {found['split']} rows in {found['groups']} "
        f"groups, {found['machine']['cpu']}; the others: all {run['rows']} rows, {run['hardware']['cpu']}."
    )


USES = {
    "classify-lora": "assign one of your labels to each message",
    "qa-lora": "answer from a passage, or say that it does not contain the answer",
    "chat-lora": "answer in your style over several turns",
    "chat-dpo": "prefer the better of two answers",
}


@block("why/use-cases", "published")
def use_cases(sources: Sources) -> str:
    """One recipe per task with its published run."""
    rows = []
    for recipe, use in USES.items():
        run = sources.run(recipe)
        metric, who = run["primary"], run["contenders"]
        rows.append(
            {
                "use": use,
                "recipe": f"[{recipe}](../../../recipes/{recipe}/README.md)",
                "measured by": f"{names.metric(metric)}, {names.direction(metric)}",
                "best prompt": number(metric, who[run["baseline"]][metric]["value"]),
                "fine-tuned": number(metric, who[names.TUNED][metric]["value"]),
                "verdict": run["verdict"],
            }
        )
    return markdown_table(rows)


@block("why/use-cases", "banking")
def many_labelled_rows(sources: Sources) -> str:
    """The linear SVM and the fine-tuned model with thousands of labelled rows."""
    run = sources.run("classify-lora", "real")
    return markdown_table(
        [
            {
                "model": names.contender(name, run["baseline"]),
                "accuracy": cell("accuracy", run["contenders"][name]["accuracy"]),
            }
            for name in (names.SVM, names.TUNED, run["baseline"])
        ]
    )


@block("why/behavioral-vs-task-specific", "voice")
def voice(sources: Sources) -> str:
    """What chat-lora changed in how the model writes."""
    run = sources.run("chat-lora")
    who = {"plain prompt": "base_generate_0", "best prompt": run["baseline"], "fine-tuned": names.TUNED}
    metrics = ("rules", "stop_rate", "length_ratio", "chrf", "loss")
    return markdown_table(
        [
            {"measured": f"{names.metric(metric)}, {names.direction(metric)}"}
            | {title: cell(metric, run["contenders"][name].get(metric)) for title, name in who.items()}
            for metric in metrics
        ]
    )


@block("why/behavioral-vs-task-specific", "intents")
def intents(sources: Sources) -> str:
    """What classify-lora changed in the answers."""
    run = sources.run("classify-lora")
    who = {"plain prompt": "base_generate_0", "best prompt": run["baseline"], "fine-tuned": names.TUNED}
    return markdown_table(
        [
            {"measured": f"{names.metric(metric)}, {names.direction(metric)}"}
            | {title: cell(metric, run["contenders"][name].get(metric)) for title, name in who.items()}
            for metric in ("accuracy", "macro_f1", "invalid_rate")
        ]
    )


@block("why/behavioral-vs-task-specific", "kept")
def instructions_kept(sources: Sources) -> str:
    """Whether each fine-tuned model still follows unrelated instructions."""
    runs = sources.forgetting()
    rows = []
    for recipe in ("classify-lora without replay", "classify-lora with replay", "qa-lora", "chat-lora"):
        line = next(one for one in runs[recipe]["retention"] if one["task"] == "instructions")
        rows.append(
            {
                "recipe": recipe,
                "instructions followed by the base": f"{line['base']:.0%}".replace("%", " %"),
                "by the fine-tuned model": f"{line['tuned']:.0%}".replace("%", " %"),
            }
        )
    return markdown_table(rows)
