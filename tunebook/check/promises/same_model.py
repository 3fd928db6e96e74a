"""Keys that would make the model that is evaluated, or loaded by others, differ from the trained one:
quantization, changes of the base in training only, chat templates that are not there.
"""

from __future__ import annotations

from tunebook.check.findings import Add, Grade
from tunebook.check.promises.names import files_of
from tunebook.config.resolved import Resolved

# Axolotl's ChatTemplate (tests/check/test_check_promises.py compares).
TEMPLATES = frozenset(
    """alpaca chatml mistral_v1 mistral_v2v3 mistral_v3_tekken mistral_v7_tekken gemma cohere llama3
    llama3_2_vision llama4 phi_3 phi_35 deepseek_v2 deepseek_v3 jamba jinja qwen_25 qwen3 qwen3_5 falcon_h1
    nemotron_h tokenizer_default exaone exaone4 metharme pixtral llava qwen2_vl gemma3 gemma3n gemma4
    gemma4_unified command_a command_a_tool_use command_a_rag aya""".split()
)
FALLBACK = "tokenizer_default_fallback_"
# The training would run on another model than the one that is evaluated and that others load.
TRAINING_ONLY = {
    "overrides_of_model_config": "changes config.json for the training only",
    "overrides_of_model_kwargs": "changes how the base is loaded for the training only",
    "model_config": "changes config.json for the training only",
    "model_kwargs": "changes how the base is loaded for the training only",
    "rope_scaling": "changes the positions for the training only",
    "base_model_config": "takes config.json from elsewhere for the training only",
    "cls_model_config": "takes another config class for the training only",
    "bnb_config_kwargs": "quantizes the base in another way for the training only",
    "model_quantization_config": "quantizes the base for the training only",
    "gptq": "trains on a base of 4 bits that the evaluation does not load so",
    "relora": "merges the adapter into the base while it trains, and that base is not saved",
    "trust_remote_code": "the evaluation runs no code that comes with a model, so it could not load it",
}
INTO_THE_BASE = "Put it into a copy of the base's folder, and name that as base_model."


def quantized(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    adapter, four, eight = (config.get(key) for key in ("adapter", "load_in_4bit", "load_in_8bit"))
    for key in ("load_in_4bit", "load_in_8bit"):
        if config.get(key) and not adapter:
            text = "full fine-tuning cannot train weights of 4 or 8 bits."
            add(
                "error",
                key,
                text,
                "Remove it, or take adapter: qlora with load_in_4bit: true.",
                code="base.full_quantized",
            )
    if four and eight:
        add(
            "error",
            "load_in_8bit",
            "excludes load_in_4bit; both are set.",
            "Set one of them to false.",
            code="base.both_quantized",
        )
    elif adapter == "lora" and four:
        text = "Axolotl quantizes to 4 bits for adapter: qlora only; with lora the base stays as it is."
        add(
            "error",
            "load_in_4bit",
            text,
            "Take adapter: qlora, or remove the key.",
            code="base.not_quantized",
        )
    elif adapter == "lora" and eight:
        grade: Grade = "warning"
        text = "trains and evaluates on a base of 8 bits, which is not what others load"
        if not config.get("bf16"):
            grade, text = "error", "without bf16 Axolotl trains it in fp16, and the evaluation is in fp32"
        do = "Remove it for plain LoRA, or take adapter: qlora with load_in_4bit: true."
        add(grade, "load_in_8bit", f"{text}.", do, code="base.eight_bits")
    elif adapter == "qlora" and (eight or not four):
        key = "load_in_8bit" if eight else "adapter"
        add(
            "error",
            key,
            "qlora needs load_in_4bit: true, and no load_in_8bit.",
            "Set both so.",
            code="base.qlora_needs_4bit",
        )


def same_model(resolved: Resolved, add: Add) -> None:
    """Keys that make the trained model another one than is evaluated."""
    config = resolved.config
    for key, why in TRAINING_ONLY.items():
        if config.get(key):
            do = "Remove it." if key in ("relora", "trust_remote_code") else INTO_THE_BASE
            add("error", key, f"{why}.", do, code="base.training_only")


def template(resolved: Resolved, add: Add) -> None:
    config, files = resolved.config, files_of(resolved)
    name, own = config.get("chat_template"), config.get("chat_template_jinja")
    plain = str(name).removeprefix(FALLBACK)
    if name is not None and plain not in TEMPLATES:
        known = ", ".join(sorted(TEMPLATES))
        add(
            "error",
            "chat_template",
            f"unknown to Axolotl (got {name!r}).",
            f"Known: {known}.",
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
        text = f"chat_template: {name} is used in its place by Axolotl."
        add(
            "error",
            "chat_template_jinja",
            text,
            "Set chat_template: jinja, or remove it.",
            code="base.jinja_unused",
        )
    elif name in (None, "tokenizer_default") and not own and files and files.has_template is False:
        text = f"{config['base_model']} has no chat template."
        do = "Name one of Axolotl's (chatml), or chat_template: jinja with chat_template_jinja."
        add("error", "chat_template", text, do, code="base.no_template")


RULES = (quantized, same_model, template)
