"""Whether lengths, packing, template and kernels suit the base model; each rule cites its evidence."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tunebook.check.findings import Add
from tunebook.check.training_rules import AXOLOTL, VALIDATION
from tunebook.config.resolved import Resolved
from tunebook.models import shapes
from tunebook.models.registry import model_table

SCHEMA = AXOLOTL + "src/axolotl/utils/schemas/config.py"
PADDING_FREE = "https://huggingface.co/docs/transformers/main/en/padding_free"
PACKED_DELTA = AXOLOTL + "src/axolotl/monkeypatch/models/qwen3_5/modeling.py"
MODULES = {"flash-linear-attention": "fla"}  # by the packages that models.yaml names under `packing`
RECURRENT = re.compile(
    r"(?i)qwen3(\.[5-9]|[_-]?5)|qwen3-next|lfm2|falcon-h1|nemotron-h|granite-4\.0-h|mamba|jamba|rwkv"
)
FUSED = re.compile(r"(?i)phi-?3|phi-?4-mini|olmo-?[23]|lfm2")
ATTENTION = [
    *("attn_implementation", "flash_attention", "sdp_attention"),
    *("flex_attention", "xformers_attention", "sage_attention"),
]
KERNELS = ("lora_qkv_kernel", "lora_o_kernel", "lora_mlp_kernel", "lora_embedding_kernel")


def packing(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    if not config.get("sample_packing"):
        return
    base = str(config["base_model"])
    needed = model_table().get(base, {}).get("packing")
    if needed:
        _packed_with(str(needed), base, add)
    elif RECURRENT.search(Path(base).name):
        add(
            "warning",
            "sample_packing",
            f"{base} carries state across the boundaries of packed rows.",
            "Set `sample_packing: false`, unless you have tested that this version resets its state at "
            "boundaries.",
            PADDING_FREE,
            code="model.packed_state",
        )
    if not any(config.get(key) for key in ATTENTION):
        add(
            "warning",
            "sample_packing",
            "without attn_implementation, packed rows attend to each other.",
            "Add `attn_implementation: sdpa`.",
            VALIDATION,
            code="model.packed_attention",
        )
    if config.get("group_by_length"):
        add("note", "group_by_length", "has no effect on packed rows.", code="model.group_by_length_unused")


def _packed_with(needed: str, base: str, add: Add) -> None:
    """Say what `needed`, a package, does for packed rows of `base`, and whether it is here."""
    if find_spec(MODULES[needed]) is None:
        add(
            "warning",
            "sample_packing",
            f"packed rows of {base} need {needed}, which is not installed here; where it is missing, Axolotl "
            "stops before the first step.",
            f"Install {needed} where the run trains, or set `sample_packing: false`.",
            PACKED_DELTA,
            code="model.packing_needs",
        )
    else:
        add(
            "note",
            "sample_packing",
            f"the kernels of {needed} keep packed rows of {base} apart. They need a GPU, so that packed and "
            "unpacked training have not been compared here.",
            link=PACKED_DELTA,
            code="model.packed_by_kernels",
        )


def lengths(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    if not config.get("sequence_len"):
        add(
            "warning",
            "sequence_len",
            "not set, so Axolotl uses 512.",
            "Set the maximum row length.",
            SCHEMA,
            code="model.no_sequence_len",
        )
    if not config.get("excess_length_strategy"):
        add(
            "warning",
            "excess_length_strategy",
            "not set, so Axolotl drops longer rows and only mentions it in its log.",
            "Set it to raise, drop or truncate.",
            SCHEMA,
            code="model.no_excess_strategy",
        )


def evaluation_batch(resolved: Resolved, add: Add) -> None:
    """Warn if the logits of one evaluation batch fill over half of the GPU: two bytes per value, plus four
    for the loss in fp32."""
    config = resolved.config
    machine = resolved.overlay.machine if resolved.overlay else None
    vocabulary = _vocabulary(str(config["base_model"]))
    if not machine or not vocabulary:
        return
    batch = config.get("eval_batch_size") or config.get("micro_batch_size") or 1
    gib = batch * (config.get("sequence_len") or 512) * vocabulary * 6 / 2**30
    if gib > machine.gib / 2:
        add(
            "warning",
            "eval_batch_size",
            f"{batch} rows of full length need {gib:.0f} GiB for logits, over half of the GPU's "
            f"{machine.gib} GB.",
            f"Use {max(1, int(batch * machine.gib / 2 / gib))} or fewer.",
            code="model.large_logits",
        )


def turn_end(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    base = str(config["base_model"])
    named = (config.get("special_tokens") or {}).get("eos_token") or config.get("eot_tokens")
    if base.endswith("-Base") and not named:
        add(
            "warning",
            "special_tokens",
            f"{base} has a token that ends texts, not turns: the end-of-turn token may not be trained, so "
            "answers would never stop.",
            "Set special_tokens.eos_token to the template's end-of-turn token.",
            "https://github.com/hiyouga/LLaMA-Factory/issues/7943",
            code="model.turn_end_not_named",
        )
    if str(config.get("chat_template")).startswith("qwen3"):
        add(
            "warning",
            "chat_template",
            "Axolotl's own qwen3 template is saved with the model and starts a think block when the model "
            "is served.",
            "Use `chat_template: tokenizer_default` with `chat_template_kwargs: {enable_thinking: false}`.",
            AXOLOTL + "src/axolotl/utils/chat_templates/templates/qwen3.jinja",
            code="model.thinking_template",
        )
    on = [key for key in KERNELS if config.get(key) is not False]
    if config.get("adapter") in ("lora", "qlora") and FUSED.search(Path(base).name) and on:
        add(
            "warning",
            on[0],
            f"LoRA kernels, on by default, crash on {base}.",
            f"Set {', '.join(on)} to false.",
            AXOLOTL + "src/axolotl/monkeypatch/lora_kernels.py",
            code="model.kernels_crash",
        )


def _vocabulary(base: str) -> int | None:
    return shapes.find(base).vocab if base in model_table() else None


RULES = (packing, lengths, evaluation_batch, turn_end)
