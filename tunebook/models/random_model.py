"""A base model of the true shape with random weights, for measuring speed and memory only.

It has the tokenizer of the trial tier's base model, which is available without the Hub; the choice of
tokenizer does not affect the time per token.

    python -m tunebook.models.random_model NAME TOKENIZER FOLDER     # in a separate process
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import damage, digest
from tunebook.core.paths import cache_folder, show
from tunebook.core.process import ChildError, write_folder
from tunebook.models import shapes, trial_model
from tunebook.models.architecture import Shape

MAX_POSITIONS = 40960


def config_of(shape: Shape, **more: Any) -> Any:
    """Return a transformers config of the shape: of the text model of Qwen3.5, Gemma 4 or gpt-oss, else Qwen3
    or Olmo 3 if query and key are normalised, otherwise Llama."""
    import transformers

    sizes: dict[str, Any] = {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": MAX_POSITIONS,
        "use_cache": False,
        **more,
    }
    if shape.delta:
        delta = shape.delta
        sizes["full_attention_interval"] = delta.every
        return transformers.Qwen3_5TextConfig(
            linear_num_key_heads=delta.key_heads,
            linear_num_value_heads=delta.value_heads,
            linear_key_head_dim=delta.key_dim,
            linear_value_head_dim=delta.value_dim,
            linear_conv_kernel_dim=delta.conv,
            **sizes,
        )
    if shape.experts:
        total, used = shape.experts.total, shape.experts.used
        return transformers.GptOssConfig(num_local_experts=total, num_experts_per_tok=used, **sizes)
    if shape.overall:
        sizes |= {
            "global_head_dim": shape.overall.head_dim,
            "sliding_window": shape.overall.window,
            "attention_k_eq_v": not shape.overall.values,
            "num_global_key_value_heads": None if shape.overall.values else shape.overall.kv_heads,
        }
        if not shape.per_layer:
            return transformers.Gemma4UnifiedTextConfig(**sizes)
        sizes |= {"hidden_size_per_layer_input": shape.per_layer, "vocab_size_per_layer_input": shape.vocab}
        return transformers.Gemma4TextConfig(num_kv_shared_layers=shape.shared_layers, **sizes)
    kinds = {
        "none": transformers.LlamaConfig,
        "head": transformers.Qwen3Config,
        "whole": transformers.Olmo3Config,
    }
    return kinds[shape.qk_norm](**sizes)


def ensure(name: str) -> Path:
    """Return the cached folder of a random model with the shape of base model `name`, creating it if needed.

    Raises:
        InputError: unknown shape.
        MachineError: no disk space, or the model could not be written.
    """
    shape = shapes.find(name)
    target = cache_folder() / "random" / f"{Path(name).name.lower()}-{digest(shape.model_dump())[:8]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        wrong = damage(target)
        if wrong is None:
            return target
        if target.is_dir():
            print(f"{show(target)} is damaged ({wrong}); it is made again", file=sys.stderr)
        need = 2.2 * shape.parameters
        if shutil.disk_usage(target.parent).free < need:
            text = f"less than {need / 1e9:.0f} GB free for a random {name}."
            raise MachineError(Problem(text, str(target.parent), code="machine.disk_full"))
        try:
            write_folder(
                "tunebook.models.random_model", [name, str(trial_model.ensure())], target, sealed=True
            )
        except ChildError as error:
            text = f"cannot create a random {name}: {error}"
            raise MachineError(text, code="model.not_created") from error
    return target


def make(name: str, tokenizer_folder: Path, target: Path) -> None:
    """Write the model in bf16, with transformers' default initialisation, on a GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ends = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        config = config_of(shapes.find(name), **ends)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
