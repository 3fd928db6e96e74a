"""Write recipe.yaml and README.md of a fork.

In: the recipe it comes from and counts of its rows. Out: the texts of both files, and what changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunebook.check.run import FEW_STEPS, TINY_SET
from tunebook.check.training_rules import averages_micro_batches
from tunebook.commands.fork.output.thinking import SAYS
from tunebook.commands.fork.output.yaml_text import change, entry, head
from tunebook.config.overrides import merge
from tunebook.config.recipe import Recipe, method
from tunebook.config.replay import GENERAL
from tunebook.config.resolve import TOKEN_MEAN
from tunebook.data.lengths import STEP, Lengths
from tunebook.data.thinking import setting
from tunebook.models.registry import model_table, row_keys

MOST_EPOCHS = 5
SEEDED = "tunebook.plugins.SeededInit"
AXOLOTLS_DEV = "                         # Axolotl's name for dev; test rows are never used in training"
PHRASES = {
    "classification": "sort a text into one of {n} labels",
    "qa": "answer a question from a passage",
    "preference": "learn which of two answers is better",
}
REPLAY = f"""\
  - path: {GENERAL} # 516 general conversations against forgetting: docs/forgetting.md
    type: chat_template
    field_messages: messages
    ds_type: json"""
TITLES = {"lora": "LoRA", "qlora": "QLoRA (4-bit base model)", "full": "Full fine-tuning"}


@dataclass(frozen=True)
class Made:
    """The facts about a fork used in its texts."""

    name: str
    origin: str  # a recipe's name, or the path of a foreign config
    task: str
    labels: int
    weighted: bool
    tools: bool
    counts: Mapping[Any, int]
    lengths: Lengths
    data: str
    foreign: bool  # whether the origin is a plain Axolotl config
    fitting: Mapping[int, int] = field(default_factory=dict)  # sequence length -> train rows that fit
    length: int | None = None  # LENGTH=: the requested sequence length
    left_out: Mapping[str, int] = field(default_factory=dict)  # number of train and dev rows that are longer
    thinking: setting.Thinking | None = None


def recipe_text(text: str, config: dict[str, Any], made: Made, model: str | None) -> tuple[str, list[str]]:
    """Return recipe.yaml for the fork, and a line for each required change."""
    old_head, body = head(text)
    changes: dict[str, str | None] = {
        "datasets": _entries("datasets", made, "train"),
        "test_datasets": _entries("test_datasets", made, "dev"),
        "dataset_prepared_path": f"dataset_prepared_path: datasets/{made.name}/rows/prepared",
        "output_dir": f"output_dir: runs/axolotl/{made.name}"
        "   # used by plain axolotl; `make recipe` writes below runs/",
    }
    notes = [f"datasets and test_datasets read datasets/{made.name}/rows/"]
    others = [each for each in (config.get("datasets") or [])[1:] if isinstance(each, dict)]
    replay = [each for each in others if each.get("path") == GENERAL]
    if replay:
        changes["datasets"] = f"{changes['datasets']}\n{REPLAY}"
        notes.append(f'{GENERAL} is mixed into training, against forgetting; SET="replay=none" leaves it out')
    if more := len(others) - len(replay):
        notes.append(
            f"{more} other entries of datasets are removed; docs/mixing-data.md shows how to add them again"
        )
    if config.get("val_set_size"):
        changes["val_set_size"] = None
        notes.append("val_set_size is removed, because dev has its own rows")
    if "seed" not in config:
        changes["seed"] = "seed: 42"
        notes.append("seed: 42 is added, for reproducible runs")
    plugins = config.get("plugins") or []
    reasons = {}
    if averages_micro_batches(config):
        reasons[TOKEN_MEAN] = "Axolotl 0.19 averages micro batches, not tokens"
    if config.get("adapter"):
        reasons[SEEDED] = "Axolotl's seed does not cover the initial weights of the adapter"
    if made.thinking:
        reasons[setting.PLUGIN] = "it learns the reasoning in answers, or not, as `thinking` says"
        changes[setting.KEY] = f"{entry(setting.KEY, made.thinking)} # reasoning is {SAYS[made.thinking]}"
        notes.append(f"thinking: {made.thinking}, so reasoning in the answers is {SAYS[made.thinking]}")
        if made.thinking in setting.SHOWN and config.get("chat_template_kwargs"):
            switched = {**config["chat_template_kwargs"], setting.SWITCH: True}
            changes["chat_template_kwargs"] = entry("chat_template_kwargs", switched)
            notes.append("chat_template_kwargs switches thinking on, as `thinking` needs it")
    if added := [plugin for plugin in reasons if plugin not in plugins]:
        changes["plugins"] = entry("plugins", [*plugins, *added])
        notes += [f"{plugin} is added: {reasons[plugin]}" for plugin in added]
    needed = made.length or up(made.lengths.longest)
    if made.length or needed > (config.get("sequence_len") or 0):
        why = " (LENGTH=)" if made.length else ""
        notes.append(
            f"sequence_len is {needed}{why}: the longest row has about {made.lengths.longest} tokens"
        )
        changes["sequence_len"] = f"sequence_len: {needed}"
    if any(made.left_out.values()):
        changes["excess_length_strategy"] = "excess_length_strategy: drop # longer rows are dropped"
        notes.append(
            f"rows of more than {needed} tokens are dropped from training: {made.left_out['train']} of "
            f"{made.counts['train']} train rows, and {made.left_out['dev']} of {made.counts['dev']} dev rows "
            "from the loss on dev; all of dev and test are evaluated"
        )
    batch = int(config.get("micro_batch_size") or 1) * int(config.get("gradient_accumulation_steps") or 1)
    train, packs = made.counts["train"], bool(config.get("sample_packing"))
    if packs and train < TINY_SET and not made.foreign:
        packs = False
        changes["sample_packing"] = f"sample_packing: false   # of {train} rows, few steps would be left"
        changes["pad_to_sequence_len"] = "pad_to_sequence_len: false"
        changes["eval_sample_packing"] = None
        notes.append(
            f"sample_packing is false, because {train} packed rows would be few sequences and so few steps"
        )
    elif packs and config.get("eval_sample_packing") is not False:
        length = max(needed, config.get("sequence_len") or 0)
        if made.counts["dev"] * made.lengths.mean < batch * length:
            changes["eval_sample_packing"] = (
                "eval_sample_packing: false # packed dev rows would not fill a batch, and Axolotl would stop"
            )
            notes.append("eval_sample_packing is false, because packed dev rows would not fill a batch")
    epochs = config.get("num_epochs") or 1
    few = not packs and not config.get("max_steps") and epochs * train < FEW_STEPS * batch
    if few and not made.foreign:
        more = min(MOST_EPOCHS, math.ceil(FEW_STEPS * batch / train))
        if more > epochs:
            changes["num_epochs"] = f"num_epochs: {more}   # {math.ceil(more * train / batch)} steps"
            notes.append(
                f"num_epochs is {more}, because {epochs:g} epochs of {train} rows would be few steps"
            )
    if model:
        table = model_table().get(model, {})
        keys = row_keys(model, config.get("adapter"))
        new = merge({"plugins": config.get("plugins") or []}, keys)
        licence = f"   # {table['licence']}" if table else ""
        changes["base_model"] = entry("base_model", model) + licence
        for key, value in keys.items():
            if new.get(key) != config.get(key):
                changes[key] = None if value is None else entry(key, new[key])
        notes.append(f"base_model is {model}, with its keys from tunebook/models/models.yaml")
    body = change(body, changes, after="base_model")
    return "\n".join(_header(old_head, config, made, model)) + "\n\n" + body, notes


def _entries(key: str, made: Made, split: str) -> str:
    lines = [f"{key}:" + (AXOLOTLS_DEV if key == "test_datasets" else "")]
    lines += [f"  - path: datasets/{made.name}/rows/{split}.jsonl"]
    if made.task == "preference":
        lines += ["    type: chat_template.argilla_chat   # the last message of each is the answer"]
        lines += ["    field_chosen: messages", "    field_rejected: rejected"]
    else:
        lines += ["    type: chat_template", "    field_messages: messages"]
    if made.weighted:
        lines += ["    message_field_training: weight   # turns with weight 0 are not trained on"]
    if made.thinking in setting.SHOWN:
        lines += ["    field_thinking: reasoning_content", "    template_thinking_key: reasoning_content"]
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
        f"# Data: datasets/{made.name}, {counts} rows (its README.md says where they come from).",
        f"# Run it:          make recipe NAME={made.name}",
        f'# Change one thing: make recipe NAME={made.name} SET="num_epochs=2"',
        "# Hardware: not measured. Without a GPU, the trial tier (trial.yaml) trains SmolLM2-135M-Instruct "
        "on",
        "#   a sample of the same rows instead, and says so.",
        f"# Forked from {made.origin}; its limits were measured on other rows. Limits: not known yet.",
        *kept,
    ]


def up(tokens: int) -> int:
    return -(-int(tokens * 1.05) // STEP) * STEP


def card(recipe: Recipe | None, made: Made, notes: list[str], trial_rows: dict[str, int]) -> str:
    """Return the recipe's README.md."""
    changed = "\n".join(f"- {line}." for line in notes)
    rows = " / ".join(str(trial_rows[split]) for split in ("train", "dev", "test"))
    link = f"[{made.origin}](../{made.origin}/README.md)" if recipe else f"`{made.origin}`"
    return f"""# {made.name}

Forked from {link} for other data. Describe here what it is for and when to use it.

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
