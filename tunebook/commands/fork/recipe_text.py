"""Write recipe.yaml, trial.yaml and the card of a fork from the recipe it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.check.training_rules import averages_micro_batches
from tunebook.commands.fork.lengths import Lengths
from tunebook.commands.fork.yaml_text import change, entry, head
from tunebook.config.overrides import merge
from tunebook.config.recipe import Recipe, method
from tunebook.config.resolve import TOKEN_MEAN
from tunebook.models.registry import model_table
from tunebook.models.trial_model import NAME as TRIAL_BASE

STEP = 64  # lengths are multiples of it
LONGEST_REAL, LONGEST_TRIAL = 8192, 1024
# What the trial tier was tried with on a CPU (recipes/*/trial.yaml): tokens in a micro batch, tokens scored
# at once, tokens trained in all, and ranked labels (rows times labels) of a test split.
MICRO_TOKENS, EVAL_TOKENS, TRAINED_TOKENS, RANKED = 1280, 2560, 160_000, 4200
FEWEST_TEST = 100
SEEDED = "tunebook.plugins.SeededInit"
AXOLOTLS_DEV = "                         # Axolotl's word for dev; test rows never enter training"
PHRASES = {
    "classification": "sort a text into one of {n} labels",
    "qa": "answer a question from a passage",
    "preference": "make the better of two answers the likelier one",
}
TITLES = {"lora": "LoRA", "qlora": "QLoRA (4-bit base)", "full": "Full tuning"}
# Keys of a foreign config that only fit its own base model or a GPU.
NOT_ON_TRIAL = (
    "special_tokens tokens model_type tokenizer_type deepspeed fsdp fsdp_config fsdp_version load_in_8bit "
    "revision_of_model tokenizer_config chat_template_jinja"
).split()


@dataclass(frozen=True)
class Made:
    """What the texts are made of."""

    name: str
    origin: str  # a recipe's name, or the path of a foreign config
    task: str
    labels: int
    weighted: bool
    tools: bool
    counts: Mapping[Any, int]
    lengths: Lengths
    data: str
    foreign: bool  # the origin is a plain Axolotl config


def recipe_text(text: str, config: dict[str, Any], made: Made, model: str | None) -> tuple[str, list[str]]:
    """Return recipe.yaml for the fork, and a line for each thing that had to change."""
    old_head, body = head(text)
    changes: dict[str, str | None] = {
        "datasets": _entries("datasets", made, "train"),
        "test_datasets": _entries("test_datasets", made, "dev"),
        "dataset_prepared_path": f"dataset_prepared_path: datasets/{made.name}/rows/prepared",
        "output_dir": f"output_dir: runs/axolotl/{made.name}"
        "   # used by plain axolotl; `make recipe` writes below runs/",
    }
    said = [f"datasets and test_datasets read datasets/{made.name}/rows/"]
    if (more := len(config.get("datasets") or []) - 1) > 0:
        said.append(
            f"{more} further entries of datasets are gone: docs/mixing-data.md says how to add them again"
        )
    if config.get("val_set_size"):
        changes["val_set_size"] = None
        said.append("val_set_size is gone: dev has rows of its own")
    if "seed" not in config:
        changes["seed"] = "seed: 42"
        said.append("seed: 42 is added, so that a run can be repeated")
    plugins = config.get("plugins") or []
    reasons = {}
    if averages_micro_batches(config):
        reasons[TOKEN_MEAN] = "Axolotl 0.19 averages micro batches, not tokens"
    if config.get("adapter"):
        reasons[SEEDED] = "Axolotl's seed does not cover the adapter's first weights"
    if added := [plugin for plugin in reasons if plugin not in plugins]:
        changes["plugins"] = entry("plugins", [*plugins, *added])
        said += [f"{plugin} is added: {reasons[plugin]}" for plugin in added]
    needed = min(LONGEST_REAL, _up(made.lengths.longest))
    if needed > (config.get("sequence_len") or 0):
        said.append(f"sequence_len is {needed}: the longest row has about {made.lengths.longest} tokens")
        changes["sequence_len"] = f"sequence_len: {needed}"
    if too_long := made.lengths.over[LONGEST_REAL]:
        said.append(
            f"{too_long} rows have more than {LONGEST_REAL} tokens, the longest sequence_len set here"
        )
    if model:
        table = model_table().get(model, {})
        new = merge({"base_model": model}, table.get("axolotl", {}))
        licence = f"   # {table['licence']}" if table else ""
        changes["base_model"] = entry("base_model", model) + licence
        for key, value in table.get("axolotl", {}).items():
            if value != config.get(key):
                changes[key] = None if value is None else entry(key, new[key])
        said.append(f"base_model is {model}, with the keys that tunebook/models/models.yaml has for it")
    body = change(body, changes, after="base_model")
    return "\n".join(_header(old_head, config, made, model)) + "\n\n" + body, said


def _entries(key: str, made: Made, split: str) -> str:
    lines = [f"{key}:" + (AXOLOTLS_DEV if key == "test_datasets" else "")]
    lines += [f"  - path: datasets/{made.name}/rows/{split}.jsonl"]
    if made.task == "preference":
        lines += ["    type: chat_template.argilla_chat   # the last message of each is the answer"]
        lines += ["    field_chosen: messages", "    field_rejected: rejected"]
    else:
        lines += ["    type: chat_template", "    field_messages: messages"]
    if made.weighted:
        lines += ["    message_field_training: weight   # turns with weight 0 are read and not learned"]
    if key == "test_datasets":
        lines += ["    split: train"]
    return "\n".join(lines)


def _header(old: list[str], config: dict[str, Any], made: Made, model: str | None) -> list[str]:
    base = str(model or config.get("base_model")).rpartition("/")[2]
    phrase = PHRASES.get(made.task, "answer in a conversation").format(n=made.labels)
    kept = [line for line in old if line.startswith("# Master weights")]
    if kept:
        at = old.index(kept[0])
        kept += [line for line in old[at + 1 :] if line.startswith("#   ")]
    if made.foreign and old:
        kept = ["#", *old]
    counts = " / ".join(f"{made.counts[split]:,}" for split in ("train", "dev", "test"))
    return [
        f"# {TITLES.get(method(config), method(config))} on {base}: {phrase}.",
        f"# Data: datasets/{made.name}, {counts} rows (its card says where they come from).",
        f"# Run it:          make recipe NAME={made.name}",
        f'# Change one thing: make recipe NAME={made.name} SET="num_epochs=2"',
        "# Hardware: not measured. Without a GPU the trial tier (trial.yaml) trains SmolLM2-135M-Instruct on",
        "#   a sample of the same rows instead, and says so.",
        f"# Forked from {made.origin}; its limits were measured on other rows. Limits: not known yet.",
        *kept,
    ]


def trial_text(
    trial: dict[str, Any], rows: dict[str, int], config: dict[str, Any], made: Made
) -> tuple[str, list[str]]:
    """Return trial.yaml on the person's own rows, at most 15 lines (and a chat template for rows with tools),
    and what to say of it.

    Args:
        trial, rows: keys and row counts of the trial.yaml that the fork comes from.
        config: the fork's recipe.
    """
    lengths = made.lengths
    bound = min(LONGEST_TRIAL, _up(lengths.longest))
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
    too_long = lengths.over.get(LONGEST_TRIAL, 0)
    said = []
    if too_long:
        keys["excess_length_strategy"] = "drop"
        said.append(f"trial tier: {too_long} rows of more than {bound} tokens are left out of training")
    keys |= {key: None for key in NOT_ON_TRIAL if config.get(key) is not None}
    lines = [
        "# The trial tier: the same path on a small real model and a sample of the same rows, without a GPU.",
        f"# Rows have {lengths.mean:.0f} tokens in the mean, {lengths.longest} at most ({lengths.how}).",
    ]
    if made.tools:
        keys["chat_template"] = "jinja"
        keys.pop("chat_template_jinja", None)
        said.append("trial tier: SmolLM2's own chat template has no tools; trial.yaml brings one that has")
    lines += [entry(key, value) for key, value in keys.items()]
    if made.tools:
        template = (Path(__file__).parent / "chatml_tools.jinja").read_text(encoding="utf-8")
        lines += ["chat_template_jinja: |", *("  " + line for line in template.splitlines())]
    return "\n".join(lines) + "\n", said


def _up(tokens: int) -> int:
    return -(-int(tokens * 1.05) // STEP) * STEP


def card(recipe: Recipe | None, made: Made, said: list[str], trial_rows: dict[str, int]) -> str:
    """Return the recipe's README.md."""
    changed = "\n".join(f"- {line}." for line in said)
    rows = " / ".join(str(trial_rows[split]) for split in ("train", "dev", "test"))
    link = f"[{made.origin}](../{made.origin}/README.md)" if recipe else f"`{made.origin}`"
    return f"""# {made.name}

Forked from {link} for other rows. What it is for, and when to use it: write it here.

- **Data**: [{made.name}](../../datasets/{made.name}/README.md).
- **Run**: `make recipe NAME={made.name}`
- **Hardware, real tier**: not measured yet.
- **Trial tier** (no GPU): SmolLM2-135M-Instruct on {rows} of the same rows, on the CPU.

## What changed

{changed}

## Results

<!-- results -->
Not measured.
<!-- /results -->

Written by `make results RUN={made.name}/latest` from `results/*.json`. In brackets: 95 % intervals,
whole groups resampled.
"""
