"""The evaluation settings of a run: evals/suites/<task>.yaml, overridden by the recipe's eval.yaml."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunebook.config.overrides import Tier, merge
from tunebook.config.recipe import Recipe
from tunebook.core.environment import environment
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.paths import ROOT, show
from tunebook.core.yaml_file import Lines, line_of, read_yaml, validation_problems
from tunebook.data.thinking import setting
from tunebook.evaluation.forgetting import Task, check_files
from tunebook.evaluation.style import Style
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.models.locate import ask_beside

TierInt = dict[Literal["trial", "real"], int | None]


class Gate(BaseModel):
    """A limit on a metric of a contender; the run fails beyond it (exit 3). With `times`, the limit is a
    multiple of the base model's metric with its plain prompt. Forgetting and style have their own margins."""

    model_config = ConfigDict(extra="forbid")
    contender: str = "tuned"
    times: Literal["base_generate_0"] | None = None
    at_least: float | None = None
    at_most: float | None = None


class Suite(BaseModel):
    """Settings for one tier, with every per-tier value already selected. `checkpoints` says which one is
    shipped: the best on dev by the primary metric, or the last; `evaluate_turns` says whether a conversation
    is judged by all its trained assistant turns or by the last one; `beside` names other models to evaluate
    as well; `export_tolerance` is how much worse than the run an exported file may be, in the unit of the
    primary metric (0.02: two points of accuracy, or 0.02 bits per byte). `thinking_tokens` are added to the
    limits of generated answers if the recipe's `thinking` shows reasoning."""

    model_config = ConfigDict(extra="forbid")
    primary: Literal["accuracy", "f1", "loss", "preference"]
    shots: int
    max_new_tokens: int
    # A part of the limits once the suite is loaded, and no key of its own in the hash of an evaluation.
    thinking_tokens: int = Field(default=0, ge=0, exclude=True)
    dev_rows: int
    generate_rows: int | None
    agreement_rows: int
    latency_rows: int = 0
    export_tolerance: float = Field(default=0.02, gt=0, lt=1)
    checkpoints: Literal["best", "last"] = "best"
    evaluate_turns: Literal["all", "last"] = "last"
    retention: dict[str, Task] = {}
    style: Style | None = None
    beside: list[str] = []
    judge: bool = False
    gates: dict[str, Gate] = {}
    mode: Literal["quick", "default", "full"] = "default"


def _idle_gates(suite: Suite, file: str, lines: Lines) -> list[Problem]:
    """Return a Problem for each gate that could never fail, because its misspelt metric would not be
    measured."""
    names = set(HIGHER_IS_BETTER)
    return [
        Problem(
            f"unknown gate for {gate.contender!r}. Possible gates for tuned: {', '.join(sorted(names))}.",
            file,
            line_of(lines, ("gates", name)),
            f"gates.{name}",
            "eval.unknown_gate",
        )
        for name, gate in suite.gates.items()
        if name not in names or gate.contender != "tuned"
    ]


def _of_tier(value: Any, tier: Tier) -> Any:
    """Select the value of `tier` wherever a mapping has a value per tier."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"trial", "real"}:
        return value[tier]
    return {key: _of_tier(item, tier) for key, item in value.items()}


def _with_replay(layer: dict[str, Any], replay: bool) -> dict[str, Any]:
    """Return a layer of settings, with those under `with_replay` if the run has `replay`."""
    rest = {key: value for key, value in layer.items() if key != "with_replay"}
    return merge(rest, layer.get("with_replay") or {}) if replay else rest


def load_suite(
    recipe: Recipe,
    task: str,
    tier: Tier,
    mode: str,
    beside: str = "",
    thinking: setting.Thinking | None = None,
    replay: bool = False,
) -> Suite:
    """Load the suite of `task` for `tier`, with the parts of retention.yaml and style.yaml that `mode`
    (quick, default, full) runs; the task's own settings take precedence. `beside` names other models to
    evaluate, instead of those in eval.yaml, which are only evaluated with `full`. With `thinking`, the run's
    setting, forgetting is also measured with reasoning switched on. With `replay`, the run mixes general
    conversations in, and has to keep what the suite's `with_replay` names.

    Raises:
        InputError: an unknown key or value, a missing items file, or another model that cannot be evaluated.
        MachineError: another model is on the Hub, which cannot be reached.
    """
    folder = ROOT / "evals" / "suites"
    path = folder / f"{task}.yaml"
    value, lines = read_yaml(path)
    for shared in ("retention", "style"):
        value[shared] = merge(read_yaml(folder / f"{shared}.yaml")[0], value.get(shared, {}))
    value = _with_replay(value, replay)
    if recipe.eval:
        path = recipe.folder / "eval.yaml"
        own = _with_replay(recipe.eval, replay)
        value, lines = merge(value, own), read_yaml(path)[1] if path.is_file() else {}
    picked = _of_tier(value, tier)
    if mode == "full":
        picked["generate_rows"] = None
    else:
        picked.pop("style", None)
    if task in ("chat", "preference") and environment().judge:
        picked["judge"] = True
    try:
        loaded = Suite.model_validate({**picked, "mode": mode})
        if loaded.evaluate_turns == "all" and task != "chat":
            text = (
                f"`all` only applies to conversations (task chat); for {task}, the answer is the last turn. "
                "Remove the key."
            )
            where = line_of(lines, ("evaluate_turns",))
            problem = Problem(text, show(path), where, "evaluate_turns", "eval.turns_of_chat")
            raise InputError(problem, problems=[problem])
        loaded.retention = {
            name: item
            for name, item in loaded.retention.items()
            if mode != "quick" and tier in item.tiers and (mode == "full" or not item.full)
            if thinking or not item.thinking
        }
        if thinking in setting.SHOWN:
            loaded.max_new_tokens += loaded.thinking_tokens
            if loaded.style:
                loaded.style.max_new_tokens += loaded.thinking_tokens
        file = show(folder / "retention.yaml")
        missing = [Problem(line, file, code="eval.no_items_file") for line in check_files(loaded.retention)]
        raise_all(_idle_gates(loaded, show(path), lines) + missing)
        option = "--beside (BESIDE=)" if beside else f"{show(path)}: beside"
        loaded.beside = beside.split() or (loaded.beside if mode == "full" else [])
        if loaded.beside and mode == "quick":
            raise InputError(
                f"{option}: --eval quick (EVAL=quick) only evaluates the fine-tuned model and its base "
                "model.",
                code="option.beside_needs_test",
            )
        ask_beside(loaded.beside, option)
        return loaded
    except ValidationError as error:
        problems = validation_problems(error, show(path), lines, "eval.bad_suite")
        raise InputError("\n".join(map(str, problems)), problems=problems) from None
