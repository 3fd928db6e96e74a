"""What fine-tuning may have cost: forgotten abilities, and overfitting to the prompt style."""

from __future__ import annotations

from pathlib import Path

from tunebook.evaluation import forgetting
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.style import conditions, in_trained_format, other_tasks, other_values
from tunebook.metrics import scoring
from tunebook.metrics.answers import StyleAnswer
from tunebook.models.methods import METHODS

TOO_LONG = "not even one example fits into the base model's positions together with the longest prompt"
NO_TEXT = "a classification head writes no text"
VIRTUAL = "the harness's own methods do not support virtual tokens"


def not_measured(evaluator: Evaluator) -> dict[str, str]:
    """Return why each task of the suite that cannot be measured is skipped; likewise few-shot prompting."""
    tasks = evaluator.suite.retention
    few_shot = {} if evaluator.maker.examples or not evaluator.inputs.examples else {"few_shot": TOO_LONG}
    if evaluator.models.head:
        return dict.fromkeys([*tasks, *(["style"] if evaluator.suite.style else [])], NO_TEXT) | few_shot
    method = METHODS.get(str(evaluator.inputs.config.get("adapter")))
    virtual = {
        n: VIRTUAL for n, task in tasks.items() if method and method.virtual and task.kind == "harness"
    }
    thinking = [name for name, task in tasks.items() if task.thinking]
    if thinking and evaluator.maker.encoder.thinking_on() is None:
        virtual |= dict.fromkeys(thinking, forgetting.NO_REASONING)
    return {**forgetting.missing(tasks), **virtual, **few_shot}


def measure_side_effects(evaluator: Evaluator, model: str) -> None:
    """Evaluate `model` ("base" or "tuned") on every forgetting task, and with EVAL=full also with other
    prompt styles."""
    left_out = not_measured(evaluator)
    for name, task in evaluator.suite.retention.items():
        if name not in left_out:
            rows = forgetting.items(task)
            job = forgetting.job(name, model, task, rows, evaluator.maker.encoder)
            records = evaluator.records(job, model)
            values = forgetting.values(task, rows, records, evaluator.maker.encoder)
            evaluator.write_values(forgetting.answers_file(Path(), model, name).stem, values)
    if evaluator.suite.style and "style" not in left_out:
        _measure_style(evaluator, model)


def _measure_style(evaluator: Evaluator, model: str) -> None:
    """Evaluate other tasks in the trained format, and the fine-tuned model also on its own task in other
    styles."""
    suite, style, encoder = evaluator.suite, evaluator.suite.style, evaluator.maker.encoder
    assert style is not None
    rows, tasks = evaluator.inputs.ask("test", style.rows), other_tasks()
    prompts = [in_trained_format(task["prompt"], rows[i % len(rows)]) for i, task in enumerate(tasks)]
    contexts, name = [encoder.context(turns) for turns in prompts], "style-other_task"
    ids = [task["id"] for task in tasks]
    job = Job(model, name, "generate", ids, contexts, max_new=style.max_new_tokens)
    texts = [evaluator.text(record["tokens"]) for record in evaluator.records(job, model)]
    evaluator.write_values(f"{model}.{name}", other_values(tasks, texts))
    if model == "base":
        return
    limit = min(style.max_new_tokens, suite.max_new_tokens)
    for condition, messages in conditions(rows, evaluator.dataset.name).items():
        name = f"style-{condition}"
        contexts = [encoder.context(m, row.get("tools")) for m, row in zip(messages, rows, strict=True)]
        job = Job(model, name, "generate", [row["id"] for row in rows], contexts, max_new=limit)
        records = evaluator.generated(rows, evaluator.records(job, model))
        found: list[float | None]
        if evaluator.inputs.chat:
            found = [record["chrf"] if record["rules"] is None else record["rules"] for record in records]
        else:
            found = scoring.per_row(records, suite.primary)
        values: list[StyleAnswer] = [
            {**record, "value": value}
            for record, value in zip(records, found, strict=True)
            if value is not None  # a generated answer has a text in every task
        ]
        evaluator.write_values(f"{model}.{name}", values)
