"""Keys that would make the evaluated model, or the one loaded by others, differ from the trained one:
quantization, changes of the base model in training only, missing chat templates.
"""

from __future__ import annotations

from tunebook.check.findings import Add, Grade
from tunebook.check.promises.names import files_of
from tunebook.config.keys import known_names, lane_of_name
from tunebook.config.resolved import Resolved
from tunebook.models import base_files
from tunebook.models.locate import OWN_CODE

FALLBACK = "tokenizer_default_fallback_"
# With these keys, training would use another model than the evaluation and other users.
TRAINING_ONLY = {
    "overrides_of_model_config": "changes config.json in training only",
    "overrides_of_model_kwargs": "changes how the base model is loaded in training only",
    "model_config": "changes config.json in training only",
    "model_kwargs": "changes how the base model is loaded in training only",
    "rope_scaling": "changes the positions in training only",
    "base_model_config": "reads config.json from elsewhere in training only",
    "cls_model_config": "uses another config class in training only",
    "bnb_config_kwargs": "quantizes the base model differently in training only",
    "model_quantization_config": "quantizes the base model in training only",
    "gptq": "trains on a 4-bit base model, which the evaluation does not use",
    "relora": "merges the adapter into the base model during training, but that base model is not saved",
    "trust_remote_code": "the evaluation does not run a model's own code, so it could not load the model",
}
INTO_THE_BASE = "Make this change in a copy of the base model's folder, and set base_model to that folder."


def quantized(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    adapter, four, eight = (config.get(key) for key in ("adapter", "load_in_4bit", "load_in_8bit"))
    for key in ("load_in_4bit", "load_in_8bit"):
        if config.get(key) and not adapter:
            text = "full fine-tuning cannot train 4-bit or 8-bit weights."
            add(
                "error",
                key,
                text,
                "Remove it, or use adapter: qlora with load_in_4bit: true.",
                code="base.full_quantized",
            )
    if four and eight:
        add(
            "error",
            "load_in_8bit",
            "cannot be combined with load_in_4bit.",
            "Set one of them to false.",
            code="base.both_quantized",
        )
    elif adapter == "lora" and four:
        text = (
            "Axolotl only quantizes to 4 bits for adapter: qlora; with lora the base model is not quantized."
        )
        add(
            "error",
            "load_in_4bit",
            text,
            "Use adapter: qlora, or remove the key.",
            code="base.not_quantized",
        )
    elif adapter == "lora" and eight:
        grade: Grade = "warning"
        text = "trains and evaluates on an 8-bit base model, which is not what others load"
        if not config.get("bf16"):
            grade, text = "error", "without bf16, Axolotl trains in fp16, but the evaluation is in fp32"
        do = "Remove it for plain LoRA, or use adapter: qlora with load_in_4bit: true."
        add(grade, "load_in_8bit", f"{text}.", do, code="base.eight_bits")
    elif adapter == "qlora" and (eight or not four):
        key = "load_in_8bit" if eight else "adapter"
        add(
            "error",
            key,
            "qlora needs load_in_4bit: true and does not allow load_in_8bit.",
            "Set load_in_4bit: true and remove load_in_8bit.",
            code="base.qlora_needs_4bit",
        )


def same_model(resolved: Resolved, add: Add) -> None:
    """Report keys that make the trained model differ from the evaluated one."""
    config = resolved.config
    for key, why in TRAINING_ONLY.items():
        if config.get(key):
            do = "Remove it." if key in ("relora", "trust_remote_code") else INTO_THE_BASE
            add("error", key, f"{why}.", do, code="base.training_only")


def own_code(resolved: Resolved, add: Add) -> None:
    """A base that cannot be loaded without its own Python code, which transformers would ask about."""
    base = str(resolved.config["base_model"])
    if name := base_files.own_code(base, resolved.config.get("revision_of_model")):
        add("error", "base_model", f"{base}, {name}: {OWN_CODE}", code="base.own_code")


def template(resolved: Resolved, add: Add) -> None:
    config, files = resolved.config, files_of(resolved)
    name, own = config.get("chat_template"), config.get("chat_template_jinja")
    plain = str(name).removeprefix(FALLBACK)
    if name is not None and plain not in known_names("chat_template"):
        known = ", ".join(known_names("chat_template"))
        add(
            "error",
            "chat_template",
            f"unknown chat template (got {name!r}).",
            f"{lane_of_name('chat_template', plain)}Known: {known}.",
            code="base.unknown_template",
        )
    elif name == "jinja" and not own:
        add(
            "error",
            "chat_template",
            "jinja needs chat_template_jinja.",
            "Add it, or tokenizer_default.",
            code="base.no_jinja",
        )
    elif own and name not in (None, "jinja"):
        text = f"Axolotl ignores it and uses chat_template: {name}."
        add(
            "error",
            "chat_template_jinja",
            text,
            "Set chat_template: jinja, or remove the key.",
            code="base.jinja_unused",
        )
    elif name in (None, "tokenizer_default") and not own and files and files.has_template is False:
        text = f"{config['base_model']} has no chat template."
        do = (
            "Use one of Axolotl's templates, such as chatml, or chat_template: jinja with "
            "chat_template_jinja."
        )
        add("error", "chat_template", text, do, code="base.no_template")


RULES = (quantized, same_model, own_code, template)
