"""trial.yaml of a fork: the trial tier on the user's own rows.

In: the trial.yaml of the original recipe and counts of the rows. Out: the text, and notes about it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.commands.fork.output.recipe_text import Made, up
from tunebook.commands.fork.output.yaml_text import entry
from tunebook.config.keys import schema
from tunebook.config.replay import KEY
from tunebook.core.errors import InputError, Problem
from tunebook.data.lengths import FEWEST_ROWS, TRIAL_LENGTHS
from tunebook.data.thinking import setting
from tunebook.models.registry import row_keys
from tunebook.models.trial_model import NAME as TRIAL_BASE

LONGEST_TRIAL = TRIAL_LENGTHS[0]
# Limits of the trial tier as measured on a CPU (recipes/*/trial.yaml): tokens in a micro batch, tokens scored
# at once, tokens trained in all, and ranked labels (rows times labels) of a test split.
MICRO_TOKENS, EVAL_TOKENS, TRAINED_TOKENS, RANKED = 1280, 2560, 160_000, 4200
FEWEST_TEST = 100
# Keys of a plain Axolotl config that only fit its own base model or a GPU.
NOT_ON_TRIAL = (
    "special_tokens tokens model_type tokenizer_type deepspeed fsdp fsdp_config fsdp_version load_in_8bit "
    "revision_of_model tokenizer_config chat_template_jinja"
).split()
SWANLAB = "axolotl.integrations.swanlab.SwanLabPlugin"
# Axolotl plugins that do not run on a CPU, or need a package that is not in the lock file.
INTEGRATIONS = tuple(
    f"axolotl.integrations.{name}."
    for name in "kernels swanlab expert_parallel densemixer llm_compressor lm_eval".split()
)


def _trial_length(made: Made) -> int:
    """Return the sequence length of the trial tier: that of the longest row, up to `LONGEST_TRIAL` unless
    hardly any row is that short.

    Raises:
        InputError: hardly any row fits even the maximum length.
    """
    if made.lengths.longest <= LONGEST_TRIAL:
        return up(made.lengths.longest)
    for length, count in sorted(made.fitting.items()):
        if count >= FEWEST_ROWS and length in TRIAL_LENGTHS:
            return min(length, up(made.lengths.longest))
    most = TRIAL_LENGTHS[-1]
    text = (
        f"only {made.fitting[most]} of {made.counts['train']} train rows have at most {most} tokens, and "
        "longer ones are dropped: there is hardly anything to train on. Shorten the passages or "
        "conversations to the part that matters."
    )
    raise InputError(Problem(text, key="DATA", code="rows.too_few_to_train"))


def trial_text(
    trial: dict[str, Any], rows: dict[str, int], config: dict[str, Any], made: Made
) -> tuple[str, list[str]]:
    """Return trial.yaml for the user's own rows, at most 15 lines (plus a chat template for rows with tools),
    and notes about it.

    Args:
        trial, rows: keys and row counts of the trial.yaml that the fork comes from.
        config: the fork's recipe.
    """
    lengths = made.lengths
    bound = _trial_length(made)
    answers = 2 if made.task == "preference" else 1
    batch = trial.get("micro_batch_size", 4) * trial.get("gradient_accumulation_steps", 1)
    micro = max(
        size
        for size in range(1, batch + 1)
        if batch % size == 0 and (size == 1 or size * answers * bound <= MICRO_TOKENS)
    )
    epochs = trial.get("num_epochs", 1)
    train = min(rows["train"], made.counts["train"], max(batch, int(TRAINED_TOKENS / lengths.mean / epochs)))
    test = min(rows["test"], made.counts["test"])
    if made.labels:
        test = min(test, max(FEWEST_TEST, RANKED // made.labels))
    keys: dict[str, Any] = {
        **trial,
        "base_model": TRIAL_BASE,
        "sequence_len": bound,
        "micro_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
        "eval_batch_size": max(1, min(trial.get("eval_batch_size", 8), EVAL_TOKENS // bound)),
        "rows": {"train": train, "dev": min(rows["dev"], made.counts["dev"]), "test": test},
    }
    if len(config["datasets"]) < 2:
        keys.pop(KEY, None)  # nothing to replay
    too_long = lengths.over.get(bound, 0)
    notes = []
    if bound > LONGEST_TRIAL:
        notes.append(
            f"trial tier: sequence_len {bound}, because only {made.fitting[LONGEST_TRIAL]} of "
            f"{made.counts['train']} train rows have at most {LONGEST_TRIAL} tokens; a step takes about "
            f"{bound // LONGEST_TRIAL} times as long"
        )
    if too_long:
        keys["excess_length_strategy"] = "drop"
        notes.append(f"trial tier: {too_long} rows of more than {bound} tokens are dropped from training")
    keys |= {key: None for key in [*NOT_ON_TRIAL, *_plugin_keys(config)] if config.get(key) is not None}
    own = row_keys(str(config.get("base_model")), config.get("adapter")).get("lora_target_modules")
    if own and config.get("lora_target_modules") == own:  # layers that the trial base does not have
        keys |= {"lora_target_modules": None, "lora_target_linear": True}
    if SWANLAB in (config.get("plugins") or []):
        keys["use_swanlab"] = False  # the default is true
    lines = [
        "# The trial tier: the same pipeline on a small real model and a sample of the same rows, without "
        "a GPU.",
        f"# Rows have {lengths.mean:.0f} tokens on average, {lengths.longest} at most ({lengths.how}).",
    ]
    shows = made.thinking in setting.SHOWN
    lacks = " and ".join([*["tools"] * made.tools, *["reasoning"] * shows])
    if lacks:
        keys["chat_template"] = "jinja"
        keys.pop("chat_template_jinja", None)
        notes.append(
            f"trial tier: SmolLM2's own chat template has no {lacks}; trial.yaml has a template that "
            "supports them"
        )
    lines += [entry(key, value) for key, value in keys.items()]
    if lacks:
        file = "chatml_thinking.jinja" if shows else "chatml_tools.jinja"
        template = (Path(__file__).parent / file).read_text(encoding="utf-8")
        lines += ["chat_template_jinja: |", *("  " + line for line in template.splitlines())]
    return "\n".join(lines) + "\n", notes


def _plugin_keys(config: dict[str, Any]) -> list[str]:
    """Return the keys of Axolotl plugins that need a GPU or an additional package; without the keys, the
    plugins do nothing."""
    known = schema()
    idle = [plugin for plugin in config.get("plugins") or [] if str(plugin).startswith(INTEGRATIONS)]
    models = [known["plugins"][plugin] for plugin in idle if plugin in known["plugins"]]
    return [key for model in models for key in known["models"][model]]
