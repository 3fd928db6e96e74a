"""The baseline: the best prompting strategy for a base model, chosen on dev."""

from __future__ import annotations

from collections.abc import Callable

from tunebook.evaluation.contenders import Contender, promptings, untuned
from tunebook.evaluation.evaluator import Evaluator
from tunebook.metrics.scoring import HIGHER_IS_BETTER


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
