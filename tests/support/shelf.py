"""Models of the shelf with their own architecture and tiny sizes, and runs of chat-lora on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.families import family_tokenizer
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.models import shapes
from tunebook.models.architecture import Shape
from tunebook.models.registry import model_table
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.run import Run

STEPS = 2
# One batch, in fp32: its rows side by side and padded, or in one sequence.
BATCH = {
    "padded": "micro_batch_size=4 sequence_len=512 sample_packing=false pad_to_sequence_len=false",
    "packed": "micro_batch_size=1 sequence_len=2048 sample_packing=true pad_to_sequence_len=true",
}
SMALL = f"max_steps={STEPS} bf16=false tf32=false gradient_accumulation_steps=1 warmup_ratio=0 lora_r=4 "
SMALL += "lora_alpha=8 learning_rate=0.01 evals_per_epoch=null saves_per_epoch=null "


def small_shape(shape: Shape) -> Shape:
    """Return a shape of two layers, or one period of layers, with tiny sizes and the same kinds and
    proportions: query heads a key head, value heads a key head of linear attention, tied embeddings."""
    heads = 2 * (shape.heads // shape.kv_heads)
    sizes: dict[str, Any] = {"kv_heads": 2, "heads": heads, "head_dim": 16, "hidden": 16 * heads}
    sizes |= {"intermediate": 128, "layers": 2}
    if shape.delta:
        widths = {"key_heads": 2, "value_heads": 2 * (shape.delta.value_heads // shape.delta.key_heads)}
        sizes["delta"] = shape.delta.model_copy(update={**widths, "key_dim": 16, "value_dim": 16})
        sizes["layers"] = shape.delta.every
    return shape.model_copy(update=sizes)


def small_base(base: str, folder: Path, tokenizer_folder: Path | None = None) -> Shape:
    """Write a model of the shelf with tiny sizes, random weights and the tokenizer in `tokenizer_folder`
    (default: the tiny model's words with the template like its family's); return its shape."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    from tunebook.models.random_model import config_of

    torch.manual_seed(0)
    family = model_table()[base]["family"]
    if tokenizer_folder is None:
        family_tokenizer(family, folder, small=True)
    else:
        AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    small = small_shape(shapes.find(base)).model_copy(update={"vocab": len(tokenizer)})
    ends = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("eos", "pad")}
    config: Any = config_of(small, initializer_range=0.2, **ends)
    same = {
        key: value for key, value in config.to_dict().items() if key not in ("model_type", "architectures")
    }
    if family == "granite":
        config = transformers.GraniteConfig(**same, logits_scaling=10.0, residual_multiplier=0.22)
    if family == "phi4-mini":
        config = transformers.Phi3Config(**same)
    if not small.delta:
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return small
    tower = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    whole = transformers.Qwen3_5Config(
        text_config=config.to_dict(),
        vision_config={**tower, "num_position_embeddings": 16},
        tie_word_embeddings=small.tied,
    )
    transformers.Qwen3_5ForConditionalGeneration(whole).save_pretrained(folder)
    return small


def prepare(base: str, small: Path, folder: Path, batch: str = "padded") -> Run:
    """Write the inputs of a run of chat-lora as its real tier is, on the tiny model in `small` and four rows,
    which are one batch."""
    recipe = recipes.load_recipe("chat-lora")
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    given = Options("real", "cpu", set=SMALL + BATCH[batch], model=base, eval="quick")
    resolved = resolve(recipe, given)
    resolved.config["base_model"] = str(small)
    resolved.config.pop("test_datasets")
    run = Run(folder)
    rows = prepare_rows(resolved, dataset)
    for split in ("train", "dev", "test"):
        write_jsonl(run / "data" / f"{split}.jsonl", rows[split][:4])
    write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "real", "quick"), "")
    return run
