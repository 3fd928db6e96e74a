"""How to load a run's model elsewhere exactly as it was evaluated: a few lines of Python."""

from __future__ import annotations

from tunebook.core.files import AxolotlConfig
from tunebook.models import methods


def loading(config: AxolotlConfig, base: str, precision: str, labels: int, folder: str) -> str:
    """Return Python that loads the model in `folder`.

    Args:
        config: Axolotl's config of the run.
        base: the base model's id.
        precision: the precision in which it was evaluated, such as "bfloat16". Without `dtype=`, transformers
            would use the one in the base model's config.json.
        labels: the labels of a classification head.
    """
    kind = methods.HEAD_MODEL_TYPE if methods.uses_head(config) else "AutoModelForCausalLM"
    options = f"dtype=torch.{precision}" + (f", num_labels={labels}" if methods.uses_head(config) else "")
    names = [kind, "AutoTokenizer"]
    tokenizer = f'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
    if not config.get("adapter"):
        lines = [f"from transformers import {', '.join(names)}", "", tokenizer]
        return "\n".join(["import torch", *lines, f'model = {kind}.from_pretrained("{folder}", {options})'])
    if config.get("load_in_4bit"):
        names.append("BitsAndBytesConfig")
        options += (
            ", quantization_config=BitsAndBytesConfig(\n    load_in_4bit=True, bnb_4bit_quant_type="
            f'"nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.{precision}\n)'
        )
    elif config.get("load_in_8bit"):
        names.append("BitsAndBytesConfig")
        options += ", quantization_config=BitsAndBytesConfig(load_in_8bit=True)"
    if config.get("revision_of_model"):
        options += f', revision="{config["revision_of_model"]}"'
    lines = ["import torch", "from peft import PeftModel", f"from transformers import {', '.join(names)}"]
    if config.get("adapter") == "bottleneck":
        lines.append("import tunebook.plugins.bottleneck  # makes the method known to PEFT")
    lines += ["", tokenizer, f'model = {kind}.from_pretrained("{base}", {options})']
    if config.get("tokens") or config.get("special_tokens"):
        lines.append("if len(tokenizer) > model.get_input_embeddings().num_embeddings:")
        lines.append("    model.resize_token_embeddings(len(tokenizer))")
    return "\n".join([*lines, f'model = PeftModel.from_pretrained(model, "{folder}")'])
