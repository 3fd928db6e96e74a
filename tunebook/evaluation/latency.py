"""How long one question waits for its answer: rows asked one at a time, as a service would get them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tunebook.core.files import digest, read_json, write_json
from tunebook.evaluation import jobs
from tunebook.evaluation.contenders import PLAIN
from tunebook.evaluation.evaluator import Evaluator


def answer_seconds(evaluation: Evaluator, split: str) -> dict[str, Any] | None:
    """Time the tuned model on `latency_rows` rows of `split`, after one that is not counted.

    Returns:
        `rows`, and `median` and `p90` in seconds, tokenising left out; also in eval/latency.json, where an
        evaluation of the same weights finds it again. None with `EVAL=quick`, where the suite asks for no
        rows, and in all processes but the first.
    """
    suite, path = evaluation.suite, evaluation.run / "eval" / "latency.json"
    if suite.mode == "quick" or not suite.latency_rows or not evaluation.here.first:
        return None
    rows = evaluation.sample(evaluation.rows[split], suite.latency_rows + 1)
    job = evaluation.question("tuned", split, rows, PLAIN, "tuned")
    plan = digest([job.contexts, evaluation.models.fingerprint("tuned")])
    kept = read_json(path, {})
    if kept.get("plan") != plan:
        seconds = jobs.seconds_alone(job, evaluation.models.open("tuned"))[1:]
        median, p90 = (round(float(np.quantile(seconds, share)), 4) for share in (0.5, 0.9))
        kept = {"plan": plan, "rows": len(seconds), "median": median, "p90": p90}
        write_json(path, kept)
    return {name: kept[name] for name in ("rows", "median", "p90")}
