"""A model that nobody fine-tuned on a few dev rows: how far a prompt without and with examples gets.

The prompts, the engines and the scores are those of an evaluation; only the rows are fewer. For
`tunebook advise`, which has no run yet.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from tunebook.core import files
from tunebook.core.files import read_json
from tunebook.evaluation import jobs
from tunebook.evaluation.contenders import ENDPOINT, Contender, Prompting, promptings, untuned
from tunebook.evaluation.endpoint.client import Settings
from tunebook.evaluation.engines.protocol import Engine, ModelSource
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.records import PromptSample, PromptScore
from tunebook.metrics import scoring
from tunebook.metrics.answers import Answer
from tunebook.metrics.intervals import SHARE, mean_interval

SPLIT = "dev"
TIMED = 4  # rows that the base answers one at a time, after one to warm up


class NoModel(ModelSource):
    """Stands for the models of an evaluation in which only an endpoint answers."""

    head = False

    def __init__(self, name: str) -> None:
        self.config, self.tokenizer = {"base_model": name}, None

    def open(self, name: str, engine: bool = True) -> Engine:
        raise NotImplementedError("Only the endpoint answers here.")

    def fingerprint(self, name: str) -> dict[str, Any]:
        return {}


def sample_promptings(evaluator: Evaluator, ranked: bool) -> list[Prompting]:
    """Return the prompts to try: without and with examples, and with the dataset's instructions where it has
    some. `ranked`: for labels, rank them too."""
    told = bool(evaluator.dataset.baseline_prompt)
    return [
        one
        for one in promptings(evaluator.dataset)
        if one.baseline_prompt == told
        and (ranked or one.method == "generate")
        and (evaluator.maker.examples or not one.few_shot)
    ]


def base_sample(evaluator: Evaluator) -> PromptSample:
    """Let the base model answer the dev rows with each prompt."""
    metric, rows = evaluator.suite.primary, evaluator.rows[SPLIT]
    found = {}
    for prompting in sample_promptings(evaluator, ranked=True):
        contender = untuned(prompting)
        measure = evaluator.losses if evaluator.inputs.chat else evaluator.answers
        found[contender] = _score(prompting, measure(contender, SPLIT, rows), metric)
    best = _in_order(found, metric)[0]
    job = evaluator.answer_job(best, "latency", evaluator.inputs.ask(SPLIT, TIMED + 1))
    seconds = jobs.seconds_alone(job, evaluator.models.open(best.model))
    return {
        "metric": metric,
        "tried": [found[one] for one in _in_order(found, metric)],
        "failed": 0,
        "seconds": statistics.median(seconds[1:] or seconds),
        "dollars": None,
    }


def endpoint_sample(evaluator: Evaluator, settings: Settings) -> PromptSample:
    """Let an endpoint answer the dev rows with each prompt. Free text is compared by chrF, because an
    endpoint gives no loss.

    Raises:
        InputError, MachineError: the endpoint rejects the requests, or too many rows failed.
    """
    metric = "chrf" if evaluator.inputs.chat else evaluator.suite.primary
    rows, failed, seconds, dollars = evaluator.inputs.ask(SPLIT), 0, list[float](), list[float | None]()
    found = {}
    for prompting in sample_promptings(evaluator, ranked=False):
        contender = Contender(prompting.name(ENDPOINT), ENDPOINT, prompting)
        folder = evaluator.run / "eval" / contender.name
        records = evaluator.endpoint_records(settings, prompting, rows, folder)
        found[contender] = _score(prompting, records, metric)
        failed += sum("error" in record for record in records)
        seconds += _seconds(folder)
        dollars.append(read_json(folder / "summary.json")["dollars"])
    known = [one for one in dollars if one is not None]
    return {
        "metric": metric,
        "tried": [found[one] for one in _in_order(found, metric)],
        "failed": failed,
        "seconds": statistics.median(seconds),
        "dollars": sum(known) if len(known) == len(dollars) else None,
    }


def _seconds(folder: Path) -> list[float]:
    return [record["seconds"] for record in files.read_records(folder / "answers.jsonl") if "text" in record]


def _in_order(found: dict[Contender, PromptScore], metric: str) -> list[Contender]:
    up = scoring.HIGHER_IS_BETTER[metric]
    return sorted(found, key=lambda one: found[one]["value"] * (-1 if up else 1))


def _score(prompting: Prompting, records: list[Answer], metric: str) -> PromptScore:
    values = zip(scoring.per_row(records, metric), records, strict=True)
    measured = [(value, record["group"]) for value, record in values if value is not None]
    numbers, groups = np.array([value for value, _ in measured]), [group for _, group in measured]
    bounds = mean_interval(numbers, groups, None if metric in scoring.UNBOUNDED else SHARE)
    low, high = bounds or (None, None)
    return {
        "name": prompting.name(),
        "rows": len(measured),
        "value": float(numbers.mean()),
        "low": low,
        "high": high,
    }
