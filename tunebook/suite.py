"""The evaluation settings of a run: evals/suites/<task>.yaml, with the recipe's eval.yaml on top."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tunebook.errors import InputError, Problem, raise_all
from tunebook.metrics import HIGHER_IS_BETTER
from tunebook.paths import ROOT, show
from tunebook.recipes import Recipe
from tunebook.resolve import Tier, merge
from tunebook.yaml_lines import Lines, dotted, line_of, read

TierInt = dict[Literal["trial", "real"], int | None]


class Gate(BaseModel):
    """A bound that fails the run (exit 3). `increase_at_most` is relative to the base."""

    model_config = ConfigDict(extra="forbid")
    contender: str = "tuned"
    at_least: float | None = None
    at_most: float | None = None
    increase_at_most: float | None = None


class Suite(BaseModel):
    """Settings for one tier: every per-tier value is already picked."""

    model_config = ConfigDict(extra="forbid")
    primary: Literal["accuracy", "f1", "loss"]
    shots: int
    max_new_tokens: int
    dev_rows: int
    generate_rows: int | None
    agreement_rows: int
    retention: str | None
    gates: dict[str, Gate]
    mode: Literal["quick", "default", "full"] = "default"


def _idle_gates(suite: Suite, file: str, lines: Lines) -> list[Problem]:
    """Return a Problem for each gate that could never fail: a misspelt name would stay unmeasured."""
    names = {*HIGHER_IS_BETTER, "retention_loss"}
    return [
        Problem(
            f"no such gate for {gate.contender!r}. Gates are on tuned: {', '.join(sorted(names))}.",
            file,
            line_of(lines, ("gates", name)),
            f"gates.{name}",
        )
        for name, gate in suite.gates.items()
        if name not in names or gate.contender != "tuned"
    ]


def load(recipe: Recipe, task: str, tier: Tier, mode: str) -> Suite:
    """Load the suite of `task` for `tier`.

    Raises:
        InputError: a key or value that the suite does not know.
    """
    path = ROOT / "evals" / "suites" / f"{task}.yaml"
    value, lines = read(path)
    if recipe.eval:
        path = recipe.folder / "eval.yaml"
        value, lines = merge(value, recipe.eval), read(path)[1] if path.is_file() else {}
    picked: dict[str, Any] = {
        key: item[tier] if isinstance(item, dict) and set(item) == {"trial", "real"} else item
        for key, item in value.items()
    }
    if mode == "full":
        picked["generate_rows"] = None
    try:
        loaded = Suite.model_validate({**picked, "mode": mode})
        raise_all(_idle_gates(loaded, show(path), lines))
        return loaded
    except ValidationError as error:
        raise_all(
            [
                Problem(item["msg"] + ".", show(path), line_of(lines, item["loc"]), dotted(item["loc"]))
                for item in error.errors()
            ]
        )
        raise InputError(str(error)) from None
