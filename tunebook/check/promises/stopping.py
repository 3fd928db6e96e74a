"""Early stopping and the best checkpoint: the metric must be computed when a checkpoint is saved, and be read
in the intended direction.
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
    """Return the names of the metrics computed in evaluations during training, and whether higher is better
    (None: either direction may be intended)."""
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
        chosen = config.get("eval_causal_lm_metrics") or ("sacrebleu", "comet", "ter", "chrf", "perplexity")
        names |= {f"eval_{name}": name not in ("ter", "perplexity") for name in chosen}
    return names


def stopping(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    patience, best = config.get("early_stopping_patience"), config.get("load_best_model_at_end")
    evals, saves = number(config.get("eval_steps")), number(config.get("save_steps"))
    watching = "early_stopping_patience" if patience else "load_best_model_at_end"
    same = "Set both to the same number of steps."
    if patience and not (evals and saves):
        text = "needs eval_steps and save_steps as numbers; evals_per_epoch is not enough."
        add("error", "early_stopping_patience", text, same, VALIDATION, code="training.early_stopping_steps")
    elif best and not (evals and saves):
        text = "is ignored unless eval_steps and save_steps are numbers; the last model would be kept."
        add("warning", "load_best_model_at_end", text, same, BUILDER, code="training.best_model_ignored")
    elif (patience or best) and evals and saves and saves % evals:
        text = f"dev is evaluated every {evals:g} steps, but checkpoints are saved every {saves:g}; "
        text += "Axolotl rejects or ignores this."
        do = f"Set save_steps to a multiple of eval_steps, such as {evals:g}."
        add("error", watching, text, do, VALIDATION, code="training.steps_do_not_meet")
    if (patience or best) and not config.get("test_datasets"):
        text = "there are no dev rows to choose a checkpoint by."
        add("error", watching, text, "List them under test_datasets.", code="training.no_dev_rows")
    _metric(resolved, bool(patience or best or config.get("save_strategy") == "best"), add)
    if config.get("save_only_model") and config.get("auto_resume_from_checkpoints"):
        text = "saves no optimizer state, so training cannot resume."
        add(
            "warning",
            "save_only_model",
            text,
            "Remove it, or remove auto_resume_from_checkpoints.",
            code="training.cannot_resume",
        )
    if config.get("save_strategy") == "no" and config.get("auto_resume_from_checkpoints"):
        text = "no checkpoint is saved, so a stopped run starts over."
        add(
            "warning",
            "save_strategy",
            text,
            "Remove it, or remove auto_resume_from_checkpoints.",
            code="training.nothing_saved",
        )


def _metric(resolved: Resolved, used: bool, add: Add) -> None:
    """Check that the metric that chooses the best checkpoint is computed, and read in the intended
    direction."""
    config = resolved.config
    name = config.get("metric_for_best_model")
    if name is None:
        if config.get("greater_is_better") and used:
            add(
                "error",
                "greater_is_better",
                "the metric is the loss, for which lower is better.",
                "Remove it.",
                code="training.wrong_direction",
            )
        return
    known = computed(resolved)
    whole = name if str(name).startswith("eval_") else f"eval_{name}"
    if whole not in known:
        there = ", ".join(sorted(known))
        do = f"Available: {there}."
        if DEV_METRIC not in (config.get("plugins") or []):
            do += f" The plugin {DEV_METRIC} adds eval_dev_accuracy and other metrics of the task."
        text = f"{name!r} is not computed during this training."
        add("error", "metric_for_best_model", text, do, TRAINER, code="training.unknown_metric")
        return
    higher, chosen = known[whole], config.get("greater_is_better")
    # Axolotl only passes on `true`; otherwise transformers assumes that higher is better for every name that
    # does not end in "loss".
    taken = True if chosen else not whole.endswith("loss")
    if higher is False and taken:
        text = f"lower is better for {whole}, but the highest value would be chosen."
        do = (
            "Remove it." if chosen else "Axolotl cannot reverse the direction for this metric. Use eval_loss."
        )
        key = "greater_is_better" if chosen else "metric_for_best_model"
        add("error", key, text, do, BUILDER, code="training.wrong_direction")
    elif higher and chosen is False:
        text = f"higher is better for {whole}, and Axolotl ignores `false` here."
        add("error", "greater_is_better", text, "Remove it.", BUILDER, code="training.wrong_direction")


RULES = (stopping,)
