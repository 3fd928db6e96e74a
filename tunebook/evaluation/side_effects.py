"""Ask a model what tuning may have cost: what was forgotten, and what other ways of asking do to it."""

from __future__ import annotations

from pathlib import Path

from tunebook.evaluation import forgetting
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.style import conditions, in_trained_format, other_tasks, other_values
from tunebook.metrics import scoring
from tunebook.models.methods import METHODS

NO_TEXT = "a classification head writes no text"
VIRTUAL = "the harness's own methods know nothing of virtual tokens"


def unasked(evaluation: Evaluator) -> dict[str, str]:
    """Return why each task of the suite that cannot be asked is left out."""
    tasks = evaluation.suite.retention
    if evaluation.models.head:
        return dict.fromkeys([*tasks, *(["style"] if evaluation.suite.style else [])], NO_TEXT)
    method = METHODS.get(str(evaluation.models.config.get("adapter")))
    virtual = {
        n: VIRTUAL for n, task in tasks.items() if method and method.virtual and task.kind == "harness"
    }
    return {**forgetting.missing(tasks), **virtual}


def ask_side_effects(evaluation: Evaluator, model: str) -> None:
    """Ask `model` ("base" or "tuned") every retention task, and with EVAL=full the style conditions."""
    left_out, models = unasked(evaluation), evaluation.models
    for name, task in evaluation.suite.retention.items():
        if name not in left_out:
            rows = forgetting.items(task)
            job = forgetting.job(name, model, task, rows, evaluation.maker.encoder)
            values = forgetting.values(task, rows, evaluation.ask(job, model), models.tokenizer)
            evaluation.write(forgetting.answers_file(Path(), model, name).stem, values)
    if evaluation.suite.style and "style" not in left_out:
        _ask_style(evaluation, model)


def _ask_style(evaluation: Evaluator, model: str) -> None:
    """Ask other tasks in the trained format, and of the tuned model its own in other ways."""
    suite, style, encoder = evaluation.suite, evaluation.suite.style, evaluation.maker.encoder
    assert style is not None
    rows, tasks = evaluation.sample(evaluation.rows["test"], style.rows), other_tasks()
    asked = [in_trained_format(task["prompt"], rows[i % len(rows)]) for i, task in enumerate(tasks)]
    contexts, name = [encoder.context(turns) for turns in asked], "style-other_task"
    ids = [task["id"] for task in tasks]
    job = Job(model, name, "generate", ids, contexts, max_new=style.max_new_tokens)
    found = [evaluation.text(record["tokens"]) for record in evaluation.ask(job, model)]
    evaluation.write(f"{model}.{name}", other_values(tasks, found))
    if model == "base":
        return
    limit = min(style.max_new_tokens, suite.max_new_tokens)
    for condition, messages in conditions(rows, evaluation.dataset.name).items():
        name = f"style-{condition}"
        contexts = [encoder.context(m, row.get("tools")) for m, row in zip(messages, rows, strict=True)]
        job = Job(model, name, "generate", [row["id"] for row in rows], contexts, max_new=limit)
        records = evaluation.generated(rows, evaluation.ask(job, model))
        for record in records:
            if evaluation.chat:
                record["value"] = record["chrf"] if record["rules"] is None else record["rules"]
            else:
                record["value"] = scoring.per_row([record], suite.primary)[0]
        evaluation.write(f"{model}.{name}", records)
