"""Tasks of lm-evaluation-harness on a model that is already loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tunebook.core.errors import TunebookError
from tunebook.core.paths import ROOT
from tunebook.evaluation.records import Item

# If a task has several metrics and answer filters, the first of these is used.
METRICS = ("acc_norm", "acc", "prompt_level_strict_acc", "exact_match", "bits_per_byte")
FILTERS = ("none", "flexible-extract", "strict-match")
BATCH = 16


def evaluate_task(
    lm: Any, name: str, limit: int | None, chat: bool, folder: Path = ROOT / "evals" / "tasks"
) -> list[Item]:
    """Run the harness's task `name` and return the score of each item.

    Args:
        lm: a TokenLM, which is an HFLM.
        limit: number of items of each (sub)task; None for all.
        chat: whether to apply the model's chat template to the questions.
        folder: folder of our own task files.

    Raises:
        TunebookError: the task has none of `METRICS`.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    lm.batch_size_per_gpu = BATCH
    manager = TaskManager(include_path=str(folder) if folder.is_dir() else None)
    results = simple_evaluate(
        model=lm,
        tasks=[name],
        limit=limit,
        task_manager=manager,
        apply_chat_template=chat,
        log_samples=True,
        bootstrap_iters=0,
    )
    result: list[Item] = []
    for task, samples in sorted(results["samples"].items()):
        filters = {sample.get("filter", "none") for sample in samples}
        chosen = next((known for known in FILTERS if known in filters), min(filters))
        for sample in samples:
            if sample.get("filter", "none") == chosen:
                result.append({"id": f"{task}/{sample['doc_id']}", "value": _value(task, sample)})
    return result


def _value(task: str, sample: dict[str, Any]) -> float:
    for metric in METRICS:
        if metric in sample:
            value = sample[metric]
            if metric == "bits_per_byte":  # (log likelihood in nats, bytes)
                return -value[0] / math.log(2) / value[1]
            return float(value)
    raise TunebookError(
        f"lm-evaluation-harness, {task}: the task has none of these metrics: {', '.join(METRICS)}.",
        code="eval.no_known_metric",
    )
