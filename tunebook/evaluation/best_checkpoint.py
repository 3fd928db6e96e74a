"""Choose the checkpoint to ship: the best on dev by the task's primary metric."""

from __future__ import annotations

from typing import Any

from tunebook.core.files import write_json
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.evaluator import Evaluator
from tunebook.metrics import scoring
from tunebook.runs.checkpoints import UNPLANNED, fault, numbered, ship


def ship_the_best(evaluator: Evaluator) -> dict[str, Any] | None:
    """Evaluate every kept checkpoint on dev and put the best into model/; if several are equal, the latest.

    Returns:
        `{metric, dev: {step: value}, shipped, last}`, also written to eval/checkpoints.json; None if the
        suite ships the last checkpoint or fewer than two intact checkpoints are kept.
    """
    run, suite, here = evaluator.run, evaluator.suite, evaluator.here
    kept = [
        (step, path)
        for step, path in numbered(run / "train")
        if not fault(path) and not (path / UNPLANNED).is_file()
    ]
    if suite.checkpoints == "last" or len(kept) < 2:
        return None
    rows = evaluator.rows["dev"]
    tried: dict[int, float] = {}
    for step, path in kept:
        name = evaluator.models.add_checkpoint(path)
        tried[step] = evaluator.primary(Contender(name, name), "dev", rows)
    sign = 1 if scoring.HIGHER_IS_BETTER[suite.primary] else -1
    best = max(tried, key=lambda step: (sign * tried[step], step))
    result = {"metric": suite.primary, "dev": tried, "shipped": best, "last": kept[-1][0]}
    if here.first:
        ship(dict(kept)[best], run)
        write_json(run / "eval" / "checkpoints.json", result)
    here.wait()
    return result
