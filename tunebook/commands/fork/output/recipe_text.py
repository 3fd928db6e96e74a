"""Write recipe.yaml, trial.yaml and README.md of a fork.

In: the recipe it comes from and counts of its rows. Out: the texts of the three files, and what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunebook.check.run import TINY_SET
from tunebook.check.training_rules import averages_micro_batches
from tunebook.commands.fork.output.yaml_text import change, entry, head
from tunebook.config.keys import schema
from tunebook.config.overrides import merge
from tunebook.config.recipe import Recipe, method
from tunebook.config.resolve import TOKEN_MEAN
from tunebook.core.errors import InputError, Problem
from tunebook.data.lengths import FEWEST_ROWS, STEP, TRIAL_LENGTHS, Lengths
from tunebook.models.registry import model_table
from tunebook.models.trial_model import NAME as TRIAL_BASE

LONGEST_TRIAL = 1024
# Limits of the trial tier as measured on a CPU (recipes/*/trial.yaml): tokens in a micro batch, tokens scored
# at once, tokens trained in all, and ranked labels (rows times labels) of a test split.
MICRO_TOKENS, EVAL_TOKENS, TRAINED_TOKENS, RANKED = 1280, 2560, 160_000, 4200
FEWEST_TEST = 100
SEEDED = "tunebook.plugins.SeededInit"
AXOLOTLS_DEV = "                         # Axolotl's word for dev; test rows never enter training"
PHRASES = {
    "classification": "sort a text into one of {n} labels",
    "qa": "answer a question from a passage",
    "preference": "prefer the better of two answers",
}
TITLES = {"lora": "LoRA", "qlora": "QLoRA (4-bit base)", "full": "Full fine-tuning"}
# Keys of a plain Axolotl config that only fit its own base model or a GPU.
NOT_ON_TRIAL = (
    "special_tokens tokens model_type tokenizer_type deepspeed fsdp fsdp_config fsdp_version load_in_8bit "
    "revision_of_model tokenizer_config chat_template_jinja"
).split()
SWANLAB = "axolotl.integrations.swanlab.SwanLabPlugin"
# Axolotl's plugins that do not run on a CPU, or need a package that is not in the lock.
INTEGRATIONS = tuple(
    f"axolotl.integrations.{name}."
    for name in "kernels swanlab expert_parallel densemixer llm_compressor lm_eval".split()
)


@dataclass(frozen=True)
class Made:
    """The facts about a fork that its texts contain."""

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
    fitting: Mapping[int, int] = field(default_factory=dict)  # sequence length -> train rows that fit
    length: int | None = None  # LENGTH=: the sequence length that was asked for
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows of train and dev that are longer


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
    notes = [f"datasets and test_datasets read datasets/{made.name}/rows/"]
    if (more := len(config.get("datasets") or []) - 1) > 0:
        notes.append(
            f"{more} other entries of datasets are removed; see docs/mixing-data.md to add them again"
        )
    if config.get("val_set_size"):
        changes["val_set_size"] = None
        notes.append("val_set_size is removed: dev has rows of its own")
    if "seed" not in config:
        changes["seed"] = "seed: 42"
        notes.append("seed: 42 is added, for reproducible runs")
    plugins = config.get("plugins") or []
    reasons = {}
    if averages_micro_batches(config):
        reasons[TOKEN_MEAN] = "Axolotl 0.19 averages micro batches, not tokens"
    if config.get("adapter"):
        reasons[SEEDED] = "Axolotl's seed does not cover the adapter's first weights"
    if added := [plugin for plugin in reasons if plugin not in plugins]:
        changes["plugins"] = entry("plugins", [*plugins, *added])
        notes += [f"{plugin} is added: {reasons[plugin]}" for plugin in added]
    needed = made.length or _up(made.lengths.longest)
    if made.length or needed > (config.get("sequence_len") or 0):
        why = " (LENGTH=)" if made.length else ""
        notes.append(
            f"sequence_len is {needed}{why}: the longest row has about {made.lengths.longest} tokens"
        )
        changes["sequence_len"] = f"sequence_len: {needed}"
    if any(made.left_out.values()):
        changes["excess_length_strategy"] = "excess_length_strategy: drop   # longer rows are left out"
        notes.append(
            f"rows of more than {needed} tokens are dropped from training: {made.left_out['train']} of "
            f"{made.counts['train']} train rows, and {made.left_out['dev']} of {made.counts['dev']} dev rows "
            "from the loss on dev; all of dev and test are evaluated"
        )
    if config.get("sample_packing") and made.counts["train"] < TINY_SET:
        changes["sample_packing"] = (
            f"sample_packing: false   # of {made.counts['train']} rows few steps would be left"
        )
        changes["pad_to_sequence_len"] = "pad_to_sequence_len: false"
        changes["eval_sample_packing"] = None
        notes.append(
            f"sample_packing is false: packed, {made.counts['train']} rows are few sequences, so few steps"
        )
    elif config.get("sample_packing") and config.get("eval_sample_packing") is not False:
        batch = int(config.get("micro_batch_size") or 1) * int(config.get("gradient_accumulation_steps") or 1)
        length = max(needed, config.get("sequence_len") or 0)
        if made.counts["dev"] * made.lengths.mean < batch * length:
            changes["eval_sample_packing"] = (
                "eval_sample_packing: false   # packed, the dev rows would not fill a batch: Axolotl stops"
            )
            notes.append("eval_sample_packing is false: packed, the dev rows would not fill a batch")
    if model:
        table = model_table().get(model, {})
        new = merge({"base_model": model}, table.get("axolotl", {}))
        licence = f"   # {table['licence']}" if table else ""
        changes["base_model"] = entry("base_model", model) + licence
        for key, value in table.get("axolotl", {}).items():
            if value != config.get(key):
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
        "# Hardware: not measured. Without a GPU the trial tier (trial.yaml) trains SmolLM2-135M-Instruct on",
        "#   a sample of the same rows instead, and says so.",
        f"# Forked from {made.origin}; its limits were measured on other rows. Limits: not known yet.",
        *kept,
    ]


def _trial_length(made: Made) -> int:
    """Return the sequence length of the trial tier: that of the longest row, at most `LONGEST_TRIAL` unless
    hardly any row is as short.

    Raises:
        InputError: hardly any row fits the longest sequence of all.
    """
    if made.lengths.longest <= LONGEST_TRIAL:
        return _up(made.lengths.longest)
    for length, count in sorted(made.fitting.items()):
        if count >= FEWEST_ROWS and length in TRIAL_LENGTHS:
            return min(length, _up(made.lengths.longest))
    most = TRIAL_LENGTHS[-1]
    text = (
        f"only {made.fitting[most]} of {made.counts['train']} train rows have at most {most} tokens, and "
        "longer ones are dropped: there is hardly anything to train on. Cut the passages or "
        "conversations to the part that matters."
    )
    raise InputError(Problem(text, key="DATA", code="rows.too_few_to_train"))


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
    if SWANLAB in (config.get("plugins") or []):
        keys["use_swanlab"] = False  # its default is true
    lines = [
        "# The trial tier: the same path on a small real model and a sample of the same rows, without a GPU.",
        f"# Rows have {lengths.mean:.0f} tokens on average, {lengths.longest} at most ({lengths.how}).",
    ]
    if made.tools:
        keys["chat_template"] = "jinja"
        keys.pop("chat_template_jinja", None)
        notes.append(
            "trial tier: SmolLM2's own chat template has no tools; trial.yaml has one that supports them"
        )
    lines += [entry(key, value) for key, value in keys.items()]
    if made.tools:
        template = (Path(__file__).parent / "chatml_tools.jinja").read_text(encoding="utf-8")
        lines += ["chat_template_jinja: |", *("  " + line for line in template.splitlines())]
    return "\n".join(lines) + "\n", notes


def _plugin_keys(config: dict[str, Any]) -> list[str]:
    """Return the keys of Axolotl's plugins that need a GPU or a package of their own: without them, the
    plugins do nothing."""
    known = schema()
    idle = [plugin for plugin in config.get("plugins") or [] if str(plugin).startswith(INTEGRATIONS)]
    models = [known["plugins"][plugin] for plugin in idle if plugin in known["plugins"]]
    return [key for model in models for key in known["models"][model]]


def _up(tokens: int) -> int:
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
