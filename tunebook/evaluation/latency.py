"""Single-request latency of the fine-tuned model: rows answered one at a time, as in a service."""

from __future__ import annotations

import numpy as np

from tunebook.core.files import digest, read_json, write_json
from tunebook.evaluation import jobs
from tunebook.evaluation.contenders import TUNED
from tunebook.evaluation.evaluator import Evaluator
from tunebook.metrics.schema import Latency


def answer_seconds(evaluator: Evaluator, split: str) -> Latency | None:
    """Time the fine-tuned model on `latency_rows` rows of `split`, after one warm-up row.

    Returns:
        Seconds without tokenization, also saved in eval/latency.json and reused by another evaluation of the
        same weights. None with `EVAL=quick`, if the suite has no `latency_rows`, and in all processes except
        the first.
    """
    suite, path = evaluator.suite, evaluator.run / "eval" / "latency.json"
    if suite.mode == "quick" or not suite.latency_rows or not evaluator.here.first:
        return None
    rows = evaluator.inputs.ask(split, suite.latency_rows + 1)
    job = evaluator.answer_job(TUNED, split, rows)
    plan = digest([job.contexts, evaluator.models.fingerprint("tuned")])
    kept = read_json(path, {})
    if kept.get("plan") != plan:
        seconds = jobs.seconds_alone(job, evaluator.models.open("tuned"))[1:]
        median, p90 = (round(float(np.quantile(seconds, share)), 4) for share in (0.5, 0.9))
        kept = {"plan": plan, "rows": len(seconds), "median": median, "p90": p90}
        write_json(path, kept)
    return {"rows": kept["rows"], "median": kept["median"], "p90": kept["p90"]}
