"""Several runs that differ only in their seed: how much does a result depend on it?"""

from __future__ import annotations

from typing import Literal, TypedDict

import numpy as np

from tunebook.core.errors import Problem, raise_all
from tunebook.metrics.schema import Metrics, Word
from tunebook.report.turns import evaluated

Same = Literal["recipe", "tier", "split", "primary", "model", "dataset", "rows_sha256"]
SAME: tuple[Same, ...] = ("recipe", "tier", "split", "primary", "model", "dataset", "rows_sha256")


class Spread(TypedDict):
    """A metric over several seeds: mean, standard deviation (n - 1), minimum and maximum."""

    mean: float
    sd: float
    low: float
    high: float
    runs: int


class Seeds(TypedDict):
    """seeds.json: contenders and their metrics, the verdict of each seed and whether all agree."""

    recipe: str
    primary: str
    seeds: list[int]
    rows: int
    contenders: dict[str, dict[str, Spread]]
    verdicts: dict[str, Word]
    agree: bool
    sentence: str


def across_seeds(runs: list[Metrics]) -> Seeds:
    """Return mean, spread and range of every metric over runs of one recipe on the same test rows.

    Args:
        runs: the contents of their metrics.json.

    Returns:
        The spread of each metric of each contender, without metrics that were not measured in every run.

    Raises:
        InputError: fewer than two runs, a repeated seed, or runs that differ in more than the seed.
    """
    problems = []
    if len(runs) < 2:
        problems.append(
            Problem(
                f"got {len(runs)} run. Run at least two seeds of a recipe.",
                key="--seeds (SEEDS=)",
                code="run.too_few_seeds",
            )
        )
    seeds = [run["seed"] for run in runs]
    if len(set(seeds)) < len(seeds):
        problems.append(
            Problem(
                f"a seed occurs twice (got {seeds}). Give each run a different seed.",
                key="--seeds (SEEDS=)",
                code="run.seed_twice",
            )
        )
    given: dict[str, list[str]] = {key: [run[key] for run in runs] for key in SAME}
    given["evaluate_turns"] = [*map(evaluated, runs)]
    for key, each in given.items():
        words = list(dict.fromkeys(each))
        if len(words) > 1:
            text = f"differs between the runs (got {', '.join(words)}). Only the seed may differ."
            problems.append(Problem(text, key=key, code="run.seeds_differ"))
    raise_all(problems)
    first = runs[0]
    contenders: dict[str, dict[str, Spread]] = {}
    for name, measures in first["contenders"].items():
        contenders[name] = {}
        for metric in measures:
            found = [run["contenders"].get(name, {}).get(metric) for run in runs]
            values = [one["value"] for one in found if one and one["value"] is not None]
            if len(values) == len(runs):
                contenders[name][metric] = _spread(values)
    verdicts = {str(run["seed"]): run["verdict"] for run in runs}
    whole: Seeds = {
        "recipe": first["recipe"],
        "primary": first["primary"],
        "seeds": seeds,
        "rows": first["rows"],
        "contenders": {name: measures for name, measures in contenders.items() if measures},
        "verdicts": verdicts,
        "agree": len(set(verdicts.values())) == 1,
        "sentence": "",  # computed from all other fields below
    }
    whole["sentence"] = _sentence(whole)
    return whole


def _spread(values: list[float]) -> Spread:
    array = np.array(values, dtype=float)
    return {
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)),
        "low": float(array.min()),
        "high": float(array.max()),
        "runs": len(values),
    }


def _sentence(found: Seeds) -> str:
    """Return in a sentence whether the seeds agree and how much the primary metric varies."""
    verdicts = found["verdicts"]
    verdict_text = (
        f"all {len(verdicts)} seeds: {next(iter(verdicts.values()))}"
        if found["agree"]
        else "the seeds disagree: " + ", ".join(f"seed {seed} {word}" for seed, word in verdicts.items())
    )
    primary = found["contenders"].get("tuned", {}).get(found["primary"])
    if primary is None:
        return f"{found['recipe']}, {verdict_text}."
    spread = f"{primary['mean']:.3f} on average, standard deviation between seeds {primary['sd']:.3f}"
    ends = f"from {primary['low']:.3f} to {primary['high']:.3f}"
    return f"{found['recipe']}, {verdict_text}. Tuned {found['primary']} {spread}, {ends}."
