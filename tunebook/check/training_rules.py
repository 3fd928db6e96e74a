"""Training settings that rarely do what was intended; each rule cites its evidence.

A rule takes the resolved config and a function that adds a finding. Shares of unchanged bf16 weights are
simulated on weights drawn from N(0, 0.02).
"""

from __future__ import annotations

import math

from tunebook.check.findings import Add
from tunebook.config.resolve import TOKEN_MEAN
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.models import lanes, methods
from tunebook.models.registry import model_table

AXOLOTL = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/"
VALIDATION = AXOLOTL + "src/axolotl/utils/schemas/validation.py"
STABILITY = AXOLOTL + "docs/training_stability.qmd"
LORA_WITHOUT_REGRET = "https://thinkingmachines.ai/blog/lora/"
LORA_LEARNS_LESS = "https://arxiv.org/abs/2405.09673"
REVISITING_BF16 = "https://arxiv.org/abs/2010.06192"

LORA_SIZED_RATE, FULL_SIZED_RATE, TINY_STEP = 1e-4, 2e-5, 2e-5
AXOLOTL_KEEPS = 4  # from axolotl/core/builders/base.py, if save_total_limit is not set
# for smaller models, full fine-tuning at 1e-3 is published (SmolLM2-360M's own recipe)
SMALL_MODEL = 500_000_000


def learning_rate(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    rate, adapter = config.get("learning_rate"), config.get("adapter")
    if not isinstance(rate, int | float):
        return
    parameters = model_table().get(str(config["base_model"]), {}).get("parameters", SMALL_MODEL)
    if not adapter and rate >= LORA_SIZED_RATE and parameters >= SMALL_MODEL:
        add(
            "warning",
            "learning_rate",
            f"{rate:g} is a typical learning rate for LoRA, but this recipe does full fine-tuning.",
            "Full fine-tuning typically uses about a tenth of it: 1e-5 to 5e-5.",
            STABILITY,
            code="training.rate_of_lora",
        )
    if adapter in ("lora", "qlora") and rate <= FULL_SIZED_RATE:
        add(
            "warning",
            "learning_rate",
            f"{rate:g} is a typical learning rate for full fine-tuning; LoRA learns little with it.",
            "LoRA typically uses about ten times as much: 1e-4 to 5e-4.",
            LORA_WITHOUT_REGRET,
            code="training.rate_of_full_tuning",
        )


def adapter_shape(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    if config.get("adapter") not in ("lora", "qlora"):
        for key in sorted(key for key in ("lora_r", "lora_alpha", "lora_target_linear") if config.get(key)):
            if not config.get("adapter"):
                add(
                    "warning",
                    key,
                    "has no effect without an adapter: this recipe does full fine-tuning.",
                    "Add `adapter: lora`, or remove the key.",
                    code="training.adapter_key_unused",
                )
        return
    if not any(config.get(f"lora_target_{name}") for name in ("linear", "modules", "parameters")):
        add(
            "error",
            "lora_target_linear",
            "no target layers.",
            "Add `lora_target_linear: true`.",
            code="training.no_target_layers",
        )
    rank, alpha = config.get("lora_r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int) or rank < 1:
        add(
            "error",
            "lora_r",
            f"lora_r and lora_alpha must be set (got {rank!r} and {alpha!r}).",
            "Use 16 and 32 for up to ten thousand short rows.",
            code="training.no_rank",
        )
        return
    if rank < 4 or rank > 256:
        add(
            "warning",
            "lora_r",
            f"rank {rank} is outside the range that is known to work, 4 to 256.",
            "Use 16 to 64.",
            LORA_WITHOUT_REGRET,
            code="training.unusual_rank",
        )
    if not config.get("peft_use_rslora") and not 1 <= alpha / rank <= 4:
        add(
            "warning",
            "lora_alpha",
            f"alpha / rank is {alpha / rank:g}, and every update is scaled by this factor.",
            f"Use {2 * rank} (twice the rank), or adjust learning_rate accordingly.",
            LORA_LEARNS_LESS,
            code="training.unusual_alpha",
        )


def small_steps(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    rate = config.get("learning_rate")
    masters = "tunebook.plugins.Float32Weights" in config.get("plugins", [])
    sharded = bool(config.get("fsdp_config") or config.get("deepspeed"))
    compensated = str(config.get("optimizer", "")).startswith("optimi_")
    bf16 = config.get("bf16") in (True, "auto", "full") or config.get("bfloat16")
    if config.get("adapter") or not bf16 or masters or sharded or compensated:
        return
    if isinstance(rate, int | float) and rate <= TINY_STEP:
        add(
            "warning",
            "bf16",
            f"the weights are stored in bf16, in which an update of {rate:g} is rounded away for most of "
            "them (simulated: 84 % unchanged at 1e-5, 70 % at 2e-5).",
            "Add the plugin tunebook.plugins.Float32Weights.",
            REVISITING_BF16,
            code="training.steps_round_away",
        )


def checkpoints(resolved: Resolved, add: Add) -> None:
    """Warn if checkpoints are deleted before the evaluation, because a deleted one cannot be chosen as the
    best."""
    config = resolved.config
    saves = _saves(config)
    kept = config.get("save_total_limit") or AXOLOTL_KEEPS
    if saves is None or saves <= kept or config.get("metric_for_best_model"):
        return
    if resolved.recipe.eval.get("checkpoints") == "last":
        return
    add(
        "note",
        "save_total_limit",
        f"{saves} checkpoints are saved, but only the newest {kept} are kept; the best of those is shipped.",
        f"Set it to {saves}, or set metric_for_best_model: eval_loss, which also keeps the best one so far.",
        code="training.checkpoints_deleted",
    )


def _saves(config: AxolotlConfig) -> int | None:
    """Return the number of checkpoints that a run saves, or None if it depends on the number of rows."""
    if config.get("max_steps") and isinstance(config.get("save_steps"), int):
        return int(config["max_steps"]) // int(config["save_steps"])
    if config.get("max_steps") or not config.get("saves_per_epoch"):
        return None
    return math.ceil(config["saves_per_epoch"] * (config.get("num_epochs") or 1))


def batch(resolved: Resolved, add: Add) -> None:
    config, rows = resolved.config, resolved.identity["global_batch"]
    if config.get("adapter") in ("lora", "qlora") and rows > 32 and not config.get("sample_packing"):
        add(
            "note",
            "micro_batch_size",
            f"the global batch is {rows} rows; LoRA performs worse above about 32.",
            link=LORA_WITHOUT_REGRET,
            code="training.large_batch_for_lora",
        )
    if resolved.config.get("max_steps") and resolved.config.get("num_epochs"):
        add("note", "max_steps", "stops the run, whatever num_epochs says.", code="training.max_steps_wins")


def averages_micro_batches(config: AxolotlConfig) -> bool:
    """Return whether Axolotl would average over micro batches instead of tokens. Does not apply to preference
    pairs and heads, whose loss is per pair or row."""
    return not (config.get("rl") or methods.uses_head(config) or TOKEN_MEAN in (config.get("plugins") or []))


def accumulation(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    accumulates = (config.get("gradient_accumulation_steps") or 1) > 1 and not lanes.counts_tokens()
    if (accumulates or resolved.world > 1) and averages_micro_batches(config):
        add(
            "warning",
            "gradient_accumulation_steps" if "gradient_accumulation_steps" in config else "micro_batch_size",
            "Axolotl averages the losses of micro batches or GPUs, so tokens of short rows count more.",
            f"Add the plugin {TOKEN_MEAN}.",
            "https://github.com/axolotl-ai-cloud/axolotl/pull/3982",
            code="training.mean_of_micro_batches",
        )


RULES = (learning_rate, adapter_shape, small_steps, checkpoints, batch, accumulation)
