"""Numbers, schedules and resuming: settings that Axolotl or transformers would ignore, or that end a training
at another point than the config says.

A rule takes the resolved config and a function that adds a finding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.check.findings import Add, Grade
from tunebook.config.keys import known_names, lane_of_name
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import ROOT
from tunebook.runs.checkpoints import fault

TRAINER = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"

# Schedules that need one of these numbers in lr_scheduler_kwargs.
NEEDS = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
# Lower bound, and whether the bound itself is allowed.
BOUNDS = {
    "num_epochs": (0, False),
    "max_steps": (1, True),
    "learning_rate": (0, False),
    "micro_batch_size": (1, True),
    "gradient_accumulation_steps": (1, True),
    "eval_batch_size": (1, True),
    "sequence_len": (1, True),
    "eval_steps": (0, False),
    "save_steps": (0, False),
    "evals_per_epoch": (1, True),
    "saves_per_epoch": (1, True),
    "save_total_limit": (1, True),
    "early_stopping_patience": (1, True),
    "logging_steps": (1, True),
    "warmup_steps": (0, True),
    "warmup_ratio": (0, True),
    "weight_decay": (0, True),
    "max_grad_norm": (0, True),
    "lora_dropout": (0, True),
    "neftune_noise_alpha": (0, True),
}
BELOW_ONE = ("warmup_ratio", "lora_dropout", "val_set_size")
EITHER = [
    ("warmup_steps", "warmup_ratio"),
    ("evals_per_epoch", "eval_steps"),
    ("saves_per_epoch", "save_steps"),
    ("bf16", "fp16"),
]


def number(value: Any) -> float | None:
    """Return the value of a config as a number, or None for anything else, including true and false."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def amounts(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    for key, (least, allowed) in BOUNDS.items():
        value = number(config.get(key))
        if value is None or value > least or (allowed and value == least):
            continue
        ignored = value == 0 and key in ("max_steps", "eval_steps", "save_steps", "early_stopping_patience")
        text = (
            "0 counts as not set in Axolotl" if ignored else f"must be {'at least' if allowed else 'above'}"
        )
        text += "" if ignored else f" {least}"
        add(
            "error",
            key,
            f"{text} (got {config[key]}).",
            "Set the number you mean, or remove the key.",
            code="training.bad_amount",
        )
    for key in BELOW_ONE:
        value = number(config.get(key))
        if value is not None and value >= 1:
            add(
                "error",
                key,
                f"must be a share below 1 (got {config[key]}).",
                "10 % is 0.1.",
                code="training.bad_share",
            )
    for one, other in EITHER:
        if config.get(one) and config.get(other):
            add(
                "error",
                one,
                f"cannot be combined with {other}.",
                f"Set {one} or {other} to null.",
                code="training.both_set",
            )


def scheduler(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    name, more = config.get("lr_scheduler"), config.get("lr_scheduler_kwargs") or {}
    if name is not None and name not in known_names("lr_scheduler"):
        known = ", ".join(known_names("lr_scheduler"))
        add(
            "error",
            "lr_scheduler",
            f"unknown scheduler (got {name!r}).",
            f"{lane_of_name('lr_scheduler', name)}Known: {known}.",
            TRAINER,
            code="training.unknown_scheduler",
        )
    wanted = NEEDS.get(str(name), ())
    if wanted and not any(key in more for key in wanted):
        text = f"{name} needs {' or '.join(wanted)}."
        add(
            "error",
            "lr_scheduler",
            text,
            f"Add lr_scheduler_kwargs: {{{wanted[0]}: ...}}.",
            TRAINER,
            code="training.scheduler_needs",
        )
    if name in WITHOUT_WARMUP:
        for key in ("warmup_ratio", "warmup_steps"):
            if config.get(key):
                add(
                    "warning",
                    key,
                    f"lr_scheduler: {name} has no warmup.",
                    "Remove it, or use another scheduler.",
                    code="training.no_warmup",
                )
    optimizer = config.get("optimizer")
    if optimizer is not None and optimizer not in known_names("optimizer"):
        add(
            "error",
            "optimizer",
            f"unknown optimizer (got {optimizer!r}).",
            f"{lane_of_name('optimizer', optimizer)}The usual choice is adamw_torch_fused.",
            TRAINER,
            code="training.unknown_optimizer",
        )
    steps, warmup = number(config.get("max_steps")), number(config.get("warmup_steps"))
    if steps and warmup and warmup >= steps:
        text = f"the warmup takes {warmup:g} of {steps:g} steps, so learning_rate is never reached."
        do = f"Use a tenth of the steps: {max(1, int(steps) // 10)}."
        add("error", "warmup_steps", text, do, code="training.long_warmup")


def after_counting(config: AxolotlConfig, steps: int, add: Add) -> None:
    """Add findings that depend on the number of optimizer steps."""
    warmup = number(config.get("warmup_steps"))
    if warmup and warmup >= steps and not config.get("max_steps"):
        text = f"the warmup takes {warmup:g} of about {steps} steps, so learning_rate is never reached."
        add(
            "error",
            "warmup_steps",
            text,
            "Use a tenth of the steps, or warmup_ratio: 0.1.",
            code="training.long_warmup",
        )
    for key, what in (("eval_steps", "dev is never evaluated"), ("save_steps", "no checkpoint is saved")):
        every = number(config.get(key))
        if every and every >= 1 and every > steps:
            grade: Grade = "error" if config.get("early_stopping_patience") else "warning"
            text = f"the run has only about {steps} steps (got {every:g}), so {what} before the end."
            add(grade, key, text, f"Use at most {max(1, steps // 2)}.", code="training.beyond_the_end")


def resuming(resolved: Resolved, add: Add) -> None:
    name = resolved.config.get("resume_from_checkpoint")
    if not name:
        return
    path = ROOT / str(name)  # relative to the working folder of the training
    if not path.is_dir():
        text = f"no such folder (got {str(name)!r}): training would stop at once."
        do = (
            "Remove it: the same command resumes its own run. To continue from another run's adapter, use "
            "FROM_RUN=."
        )
        add("error", "resume_from_checkpoint", text, do, code="training.no_checkpoint")
        return
    number_ = Path(path).name.partition("-")[2]
    broken = fault(path) if number_.isdecimal() else "its name is not checkpoint-N"
    if broken:
        text = f"training cannot resume from {name}: {broken}."
        add(
            "error",
            "resume_from_checkpoint",
            text,
            "Name an intact checkpoint.",
            code="training.broken_checkpoint",
        )


RULES = (amounts, scheduler, resuming)
