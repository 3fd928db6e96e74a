"""What is chosen on dev by the primary metric: the prompting of the baseline, and the checkpoint to ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunebook.core.files import write_json
from tunebook.evaluation.contenders import Contender, promptings, untuned
from tunebook.evaluation.evaluator import Evaluator
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.runs.checkpoints import UNPLANNED, fault, numbered, ship


def choose_baseline(evaluator: Evaluator, name: str = "base") -> tuple[Contender, dict[str, float]]:
    """Evaluate every prompting strategy for the base model called `name` on `dev_rows` of dev. Return the
    best contender by the primary metric (the first if several are equal) and the score of each."""
    rows = evaluator.inputs.sample(evaluator.rows["dev"], evaluator.suite.dev_rows)
    candidates = {
        (one := untuned(each, name)).name: one
        for each in promptings(evaluator.dataset)
        if evaluator.maker.examples or not each.few_shot
    }
    tried = {one.name: evaluator.primary(one, "choice", rows) for one in candidates.values()}
    pick: Callable[..., str] = max if HIGHER_IS_BETTER[evaluator.suite.primary] else min
    return candidates[pick(tried, key=tried.__getitem__)], tried


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
    sign = 1 if HIGHER_IS_BETTER[suite.primary] else -1
    best = max(tried, key=lambda step: (sign * tried[step], step))
    result = {"metric": suite.primary, "dev": tried, "shipped": best, "last": kept[-1][0]}
    if here.first:
        ship(dict(kept)[best], run)
        write_json(run / "eval" / "checkpoints.json", result)
    here.wait()
    return result
