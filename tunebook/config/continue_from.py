"""`FROM_RUN=`: continue from the adapter of an earlier run, through Axolotl's `lora_model_dir`.

Axolotl reads that key for supervised fine-tuning only: preference tuning starts from a base model into which
the adapter was merged (tunebook/export/merge.py).
"""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import AxolotlConfig, read_json
from tunebook.core.paths import show
from tunebook.models import methods
from tunebook.models import methods as head
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import MERGED, find

# Key of Axolotl's config: key of PEFT's adapter_config.json, which determines a loaded adapter.
SHAPE = {"lora_r": "r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout"}
SHAPE |= {"peft_use_dora": "use_dora", "peft_use_rslora": "use_rslora"}
TABLES = {
    "lora_modules_to_save": "modules_to_save",
    "peft_trainable_token_indices": "trainable_token_indices",
}
SHAPE |= {"num_virtual_tokens": "num_virtual_tokens", "bottleneck_size": "size"}


def _method(config: AxolotlConfig) -> str:
    """Return the adapter type of `config`; for QLoRA, that is LoRA."""
    return str(config.get("adapter")).replace("qlora", "lora")


def continued(config: AxolotlConfig, text: str) -> tuple[dict[str, Any], str]:
    """Return the keys that make `config` start from the adapter of the run `text`, and the adapter's hash.

    Raises:
        InputError: no such run, a run without an adapter, or an adapter of another base model or shape, which
            Axolotl would load anyway and so train something else than the config says.
    """
    run = find(text)
    adapter = read_json(run / "model" / "adapter_config.json")
    if not run.done("train") or adapter is None:
        raise InputError(
            f"--from-run (FROM_RUN=): {show(run.folder)} has no trained adapter to continue from.",
            code="run.no_adapter",
        )
    if not config.get("adapter"):
        raise InputError(
            "--from-run (FROM_RUN=): continues from an adapter, and this recipe does full fine-tuning. To "
            f'start from a fully fine-tuned model, pass --set (SET=) "base_model={show(run / "model")}".',
            code="config.no_adapter",
        )
    before = run.config()
    merge = bool(config.get("rl"))
    pairs = {"base_model": (config.get("base_model"), before["base_model"])}
    if not merge:
        pairs["adapter"] = (_method(config), _method(before))
        # PEFT saves the head itself, as an extra module.
        shape = SHAPE if head.uses_head(config) else SHAPE | TABLES
        pairs |= {key: (config.get(key), adapter.get(saved)) for key, saved in shape.items()}
    raise_all(
        [
            Problem(
                f"{show(run.folder)} was trained with {theirs!r}, this recipe has {ours!r}; both must be "
                "the same.",
                "--from-run (FROM_RUN=)",
                key=key,
                code="config.other_adapter",
            )
            for key, (ours, theirs) in pairs.items()
            if (ours or 0) != (theirs or 0)
        ]
    )
    if merge:
        if refusal := merge_refusal(before):
            raise InputError(
                f"--from-run (FROM_RUN=): {show(run.folder)} has an adapter that cannot be merged into its "
                f"base model: {refusal}",
                code="config.no_merge",
            )
        return {"base_model": str(run / MERGED)}, weights_hash(run / "model")
    return {"lora_model_dir": str(run / "model")}, weights_hash(run / "model")


def merge_refusal(config: AxolotlConfig) -> str | None:
    """Return why the adapter trained with `config` cannot be merged into its base model, or None if it
    can."""
    if config.get("load_in_4bit") or config.get("load_in_8bit"):
        return (
            "it was trained on a quantized base model, and the merged weights would differ from those "
            "trained."
        )
    if head.uses_head(config):
        return "it is a classification head."
    return methods.merge_refusal(str(config["adapter"]))
