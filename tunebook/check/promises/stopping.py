"""Early stopping and the best checkpoint: what chooses must be computed, where a checkpoint is saved, and be
read in the direction that is meant.
"""

from __future__ import annotations

from tunebook.check.findings import Add
from tunebook.check.promises.schedule import TRAINER, number
from tunebook.check.training_rules import AXOLOTL, VALIDATION
from tunebook.config.resolved import Resolved
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.models import methods

BUILDER = AXOLOTL + "src/axolotl/core/builders/causal.py"
DEV_METRIC = "tunebook.plugins.DevMetric"


def computed(resolved: Resolved) -> dict[str, bool | None]:
    """Return the names of the metrics of an evaluation in training, with whether higher is better (None: any
    direction may be meant)."""
    config = resolved.config
    names: dict[str, bool | None] = {"eval_loss": False}
    if not config.get("rl"):
        names["eval_ppl"] = False
    if methods.uses_head(config):
        names["eval_accuracy"] = True
    if config.get("rl"):
        rewards = ("accuracies", "margins", "chosen")
        names |= {f"eval_rewards/{name}": True for name in rewards} | {"eval_rewards/rejected": False}
    if DEV_METRIC in (config.get("plugins") or []):
        names |= {f"eval_dev_{name}": higher for name, higher in HIGHER_IS_BETTER.items()}
    if config.get("do_causal_lm_eval"):
        asked = config.get("eval_causal_lm_metrics") or ("sacrebleu", "comet", "ter", "chrf", "perplexity")
        names |= {f"eval_{name}": name not in ("ter", "perplexity") for name in asked}
    return names


def stopping(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    patience, best = config.get("early_stopping_patience"), config.get("load_best_model_at_end")
    evals, saves = number(config.get("eval_steps")), number(config.get("save_steps"))
    watching = "early_stopping_patience" if patience else "load_best_model_at_end"
    same = "Set both to the same number of steps."
    if patience and not (evals and saves):
        text = "needs eval_steps and save_steps as numbers; evals_per_epoch does not do."
        add("error", "early_stopping_patience", text, same, VALIDATION, code="training.early_stopping_steps")
    elif best and not (evals and saves):
        text = "is ignored unless eval_steps and save_steps are numbers: the last model is kept."
        add("warning", "load_best_model_at_end", text, same, BUILDER, code="training.best_model_ignored")
    elif (patience or best) and evals and saves and saves % evals:
        text = f"dev is not looked at where a checkpoint is saved (every {evals:g} and {saves:g} steps); "
        text += "Axolotl refuses or ignores it."
        do = f"Set save_steps to a multiple of eval_steps, as {evals:g}."
        add("error", watching, text, do, VALIDATION, code="training.steps_do_not_meet")
    if (patience or best) and not config.get("test_datasets"):
        text = "no dev rows: there is nothing to choose by."
        add("error", watching, text, "Name them in test_datasets.", code="training.no_dev_rows")
    _metric(resolved, bool(patience or best or config.get("save_strategy") == "best"), add)
    if config.get("save_only_model") and config.get("auto_resume_from_checkpoints"):
        text = "leaves no optimizer state, so that nothing can be resumed."
        add(
            "warning",
            "save_only_model",
            text,
            "Remove it, or auto_resume_from_checkpoints.",
            code="training.cannot_resume",
        )
    if config.get("save_strategy") == "no" and config.get("auto_resume_from_checkpoints"):
        text = "no checkpoint is saved, so that a stopped run starts from the beginning."
        add(
            "warning",
            "save_strategy",
            text,
            "Remove it, or auto_resume_from_checkpoints.",
            code="training.nothing_saved",
        )


def _metric(resolved: Resolved, used: bool, add: Add) -> None:
    """What chooses the best checkpoint must be computed, and read in the direction that is meant."""
    config = resolved.config
    name = config.get("metric_for_best_model")
    if name is None:
        if config.get("greater_is_better") and used:
            add(
                "error",
                "greater_is_better",
                "the metric is the loss, which is better when lower.",
                "Remove it.",
                code="training.wrong_direction",
            )
        return
    known = computed(resolved)
    whole = name if str(name).startswith("eval_") else f"eval_{name}"
    if whole not in known:
        there = ", ".join(sorted(known))
        do = f"There are: {there}."
        if DEV_METRIC not in (config.get("plugins") or []):
            do += f" The plugin {DEV_METRIC} adds eval_dev_accuracy and others of the task."
        text = f"{name!r} is not computed in this training."
        add("error", "metric_for_best_model", text, do, TRAINER, code="training.unknown_metric")
        return
    higher, asked = known[whole], config.get("greater_is_better")
    # Axolotl passes on `true` only; otherwise transformers takes every name that does not end in "loss" for
    # better when higher.
    taken = True if asked else not whole.endswith("loss")
    if higher is False and taken:
        text = f"{whole} is better when lower, and the highest would be chosen."
        do = "Remove it." if asked else "Axolotl has no setting to reverse that for this name. Use eval_loss."
        key = "greater_is_better" if asked else "metric_for_best_model"
        add("error", key, text, do, BUILDER, code="training.wrong_direction")
    elif higher and asked is False:
        text = f"{whole} is better when higher; Axolotl ignores `false` here."
        add("error", "greater_is_better", text, "Remove it.", BUILDER, code="training.wrong_direction")


RULES = (stopping,)
