"""What each fine-tuning method cannot be combined with, reported before any training."""

from __future__ import annotations

from pydantic import ValidationError

from tunebook.config.adapter_keys import AdapterArguments
from tunebook.config.resolved import Resolved
from tunebook.core.errors import Problem
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import show
from tunebook.data.thinking import setting
from tunebook.models import methods
from tunebook.models.methods import ADAPTERS_PLUGIN, LORA, METHODS, has_encoder

KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
# Axolotl's own adapter keys that apply to every method.
ANY_METHOD = (*KERNELS, "lora_model_dir", "peft_autocast_adapter_dtype")
PACKED = (
    "PEFT drops position ids when there are virtual tokens, so packed rows would attend to each other. Set "
    "it to false; group_by_length: true reduces padding instead."
)
CHECKPOINTED = (
    "the prefix is a key-value cache, which the second forward pass would lengthen. Set it to false, or use "
    "prompt_tuning."
)
IN_SHARDS = (
    "a sharded model is untested with this adapter. The adapter has so few weights that DDP, with the "
    "whole model on each GPU, needs little more memory than one GPU."
)
NO_KERNELS_FOR_HEAD = (
    "Axolotl's LoRA kernels support causal models only, and it enables them by default. Set it to false."
)
PAIRS_PLUGIN = "tunebook.plugins.PreferencePrompts"
NO_ADAPTER_BEFORE_PAIRS = (
    "Axolotl does not load it for preference tuning and would start from the base model. Use FROM_RUN=, "
    "which merges the adapter first (docs/preference.md)."
)
PLAIN_PROMPTS = (
    "Axolotl does not apply chat_template_kwargs to preference pairs: training would use a different "
    "prompt than the evaluation. Add {PAIRS_PLUGIN}."
)

# They move part of the base model's weights into the adapter before the first step.
MOVED = ("loftq", "pissa", "olora", "corda", "lora_ga")
MOVES_WEIGHTS = (
    "moves part of the base model's weights into the adapter, but only the adapter is saved: combined with "
    "the published base model, it would differ from the trained model. Remove it."
)
LOFTQ = "tunebook.plugins.LoftQ"
MOVES_NOTHING = f" For LoftQ on an unchanged 4-bit base model, use the plugin {LOFTQ} (docs/adapters.md)."
MAKES_UP = f"{LOFTQ} compensates for the error of 4-bit quantization: it "


def problems(resolved: Resolved) -> list[Problem]:
    """Return a Problem for each combination that would crash, train something else or be ignored."""
    config = resolved.config
    found = {**_head(config), **_own_keys(config), **_lora(config), **_adapter(config), **_virtual(config)}
    found |= {**_pairs(config), **_thinking(config)}
    return [_place(resolved, key, text) for key, text in found.items()]


def _place(resolved: Resolved, key: str, text: str) -> Problem:
    """Return a Problem that names the layer that set `key`."""
    recipe, value = resolved.recipe, resolved.config.get(key)
    if resolved.tier == "trial" and key in recipe.trial and recipe.trial[key] == value:
        return Problem(
            text,
            show(recipe.folder / "trial.yaml"),
            recipe.trial_lines.get((key,)),
            key,
            "config.method_conflict",
        )
    if recipe.config.get(key) == value or key == "plugins":  # every layer adds to this key
        return Problem(text, recipe.file, recipe.lines.get((key,)), key, "config.method_conflict")
    above = f" or hardware/{resolved.hardware}.yaml" if resolved.hardware else ""
    return Problem(text, f"--set (SET=){above}", key=key, code="config.method_conflict")


def _own_keys(config: AxolotlConfig) -> dict[str, str]:
    """Return the plugin's keys that have an invalid value or belong to another method, each with an
    explanation."""
    found, given = {}, {key: config[key] for key in AdapterArguments.model_fields if key in config}
    try:
        AdapterArguments.model_validate(given)
    except ValidationError as error:
        found = {str(item["loc"][0]): f"{item['msg']} (got {item['input']!r})." for item in error.errors()}
    for key in given:
        owners = [name for name, method in METHODS.items() if key in (*method.needs, *method.takes)]
        if config.get("adapter") not in owners:
            got = f"got adapter: {config.get('adapter')}"
            found[key] = f"belongs to adapter: {' or '.join(owners)} ({got}). Remove it."
    return found


def _lora(config: AxolotlConfig) -> dict[str, str]:
    found = {}
    start = str(config.get("peft_init_lora_weights")).lower()
    if start.startswith(MOVED):
        found["peft_init_lora_weights"] = MOVES_WEIGHTS + (MOVES_NOTHING if start == "loftq" else "")
    if (config.get("peft") or {}).get("loftq_config"):
        found["peft"] = f"loftq_config {MOVES_WEIGHTS}{MOVES_NOTHING}"
    if LOFTQ in config.get("plugins", []):
        if config.get("adapter") not in LORA or not config.get("load_in_4bit"):
            found["plugins"] = f"{MAKES_UP}needs adapter: qlora and load_in_4bit: true."
        if config.get("peft_use_dora"):
            found["peft_use_dora"] = (
                f"{MAKES_UP}would leave DoRA with the magnitudes of different weights. Remove one of the two."
            )
        if config.get("rl"):
            found["rl"] = (
                f"{MAKES_UP}would start from a different model than the reference, which is the plain 4-bit "
                "base model."
            )
        for key in ("fsdp_version", "deepspeed"):
            if config.get(key):
                found[key] = f"{MAKES_UP}reads whole layers and is untested with a sharded model."
    return found


def _adapter(config: AxolotlConfig) -> dict[str, str]:
    name = config.get("adapter")
    method = METHODS.get(str(name))
    if method is None:
        return {}
    found = {}
    if ADAPTERS_PLUGIN not in config.get("plugins", []):
        found["plugins"] = f"adapter: {name} needs a plugin. Add {ADAPTERS_PLUGIN}."
    needed = [*method.needs, *(["encoder_hidden_size"] if has_encoder(config) else [])]
    found |= {key: f"missing; adapter: {name} needs it." for key in needed if not config.get(key)}
    if config.get("prompt_tuning_init") == "TEXT" and not config.get("prompt_tuning_init_text"):
        found["prompt_tuning_init_text"] = "missing; prompt_tuning_init: TEXT needs it."
    for key, value in config.items():
        if value and key.startswith(("lora_", "peft_")) and key not in (*ANY_METHOD, *method.takes):
            found[key] = f"has no effect with adapter: {name}. Remove it."
        if value and key in KERNELS:
            found[key] = f"replaces LoRA layers, which adapter: {name} does not have. Set it to false."
        if value and key in ("fsdp_version", "deepspeed"):
            found[key] = IN_SHARDS
        if value and key in ("load_in_4bit", "load_in_8bit"):
            found[key] = f"Axolotl quantizes the base model for {' and '.join(LORA)} only. Remove it."
    return found


def _virtual(config: AxolotlConfig) -> dict[str, str]:
    name = str(config.get("adapter"))
    if name not in METHODS or not METHODS[name].virtual:
        return {}
    found = {key: PACKED for key in ("sample_packing", "eval_sample_packing") if config.get(key)}
    if name == "prefix_tuning" and config.get("gradient_checkpointing"):
        found["gradient_checkpointing"] = CHECKPOINTED
    if has_encoder(config) and config.get("lora_model_dir"):
        found["lora_model_dir"] = (
            f"adapter: {name} cannot continue from a finished run, because the run saves its virtual tokens "
            "but not the network that produces them."
        )
    if config.get("prefix_projection") and config.get("prefix_init_std"):
        found["prefix_init_std"] = (
            "initializes keys and values directly, but with prefix_projection a network generates them. "
            "Remove it."
        )
    if methods.uses_head(config):
        found["adapter"] = (
            f"{name} with a classification head: PEFT passes embeddings, so the head would read a row's "
            "padding instead of its last token. Use lora, ia3 or bottleneck."
        )
    return found


def _pairs(config: AxolotlConfig) -> dict[str, str]:
    """Return the keys that cannot be combined with preference tuning, and why."""
    if not config.get("rl"):
        return {}
    found = {}
    if config["rl"] != "dpo":
        found["rl"] = f"expected dpo, the only preference method supported here (got {config['rl']!r})."
    if config.get("adapter") not in LORA:
        found["adapter"] = (
            f"preference tuning was tested with {' and '.join(LORA)} only (got {config.get('adapter')!r})."
        )
    if config.get("sample_packing"):
        found["sample_packing"] = "preference pairs cannot be packed. Set it to false."
    for key in ("fsdp_version", "deepspeed"):
        if config.get(key):
            found[key] = "a sharded model is untested with preference tuning. Use DDP."
    if config.get("lora_model_dir"):
        found["lora_model_dir"] = NO_ADAPTER_BEFORE_PAIRS
    if config.get("chat_template_kwargs") and PAIRS_PLUGIN not in config.get("plugins", []):
        found["plugins"] = PLAIN_PROMPTS
    return found


def _thinking(config: AxolotlConfig) -> dict[str, str]:
    """Return why reasoning cannot be shown in what is trained here."""
    if setting.of(config) not in setting.SHOWN:
        return {}
    if config.get("rl") or methods.uses_head(config):
        what = "a classification head" if methods.uses_head(config) else "preference tuning"
        return {setting.KEY: f"{what} does not support reasoning. Set it to off, or remove it."}
    other = next(
        (key for key in ("train_on_inputs", "tokenizer_use_mistral_common") if config.get(key)), None
    )
    if other:
        return {setting.KEY: f"cannot be combined with {other}. Remove one of the two."}
    return {}


def _head(config: AxolotlConfig) -> dict[str, str]:
    if not methods.uses_head(config):
        return {}
    found = {}
    if config.get("model_type") != methods.HEAD_MODEL_TYPE:
        found["model_type"] = f"a head needs {methods.HEAD_MODEL_TYPE} (got {config.get('model_type')!r})."
    if len(config["datasets"]) > 1:
        found["datasets"] = "a classification head takes one dataset, which defines its labels."
    if config.get("sample_packing"):
        found["sample_packing"] = "a classification head reads the last token of each row. Set it to false."
    if config.get("excess_length_strategy") == "truncate":
        found["excess_length_strategy"] = "would cut off the end of a row, which the head reads. Use raise."
    kernels = [config.get(key) for key in KERNELS]
    if config.get("adapter") in LORA and (any(kernels) or kernels == [None] * len(KERNELS)):
        found["lora_mlp_kernel"] = NO_KERNELS_FOR_HEAD
    return found


def stays_off(config: AxolotlConfig) -> dict[str, bool]:
    """Return the keys that a hardware overlay must not enable for this method."""
    method = METHODS.get(str(config.get("adapter")))
    unpacked = (method and method.virtual) or methods.uses_head(config) or config.get("rl")
    off = ["sample_packing"] if unpacked else []
    if config.get("adapter") == "prefix_tuning":
        off.append("gradient_checkpointing")
    return {key: False for key in off if config.get(key) is False}
