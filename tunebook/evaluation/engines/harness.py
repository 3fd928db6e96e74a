"""Tasks of lm-evaluation-harness on a model that is already loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tunebook.core.errors import TunebookError
from tunebook.core.paths import ROOT
from tunebook.evaluation.records import Item
from tunebook.models.hub import is_switched_off

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

    lm.batch_size_per_gpu = BATCH
    results = simple_evaluate(
        model=lm,
        tasks=[name],
        limit=limit,
        task_manager=_manager(folder),
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


def load_tasks(names: list[str], folder: Path = ROOT / "evals" / "tasks") -> None:
    """Load tasks with their data, which downloads what is not on this machine."""
    from lm_eval.tasks import get_task_dict

    get_task_dict(names, _manager(folder))


def _manager(folder: Path) -> Any:
    """Return the harness's index of tasks, its own and those in `folder`."""
    from lm_eval.tasks import TaskManager

    if is_switched_off():
        import nltk

        nltk.download = lambda *_, **__: False  # ifeval's module asks GitHub as it is imported
    return TaskManager(include_path=str(folder) if folder.is_dir() else None)


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
