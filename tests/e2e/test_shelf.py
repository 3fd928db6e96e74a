"""Models of the shelf, a few layers small: the true architecture and template, two steps of a recipe; what
was trained is what evaluation loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.families import family_tokenizer
from tests.support.lazy import lazy
from tests.support.trainings import train
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import read_json, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.models import shapes
from tunebook.models.registry import model_table
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.run import Run

evaluators = lazy("tunebook.evaluation.evaluator")
pytestmark = pytest.mark.slow
SMALL = "max_steps=2 bf16=false tf32=false gradient_accumulation_steps=1 micro_batch_size=4 sequence_len=512 "
SMALL += "warmup_ratio=0 learning_rate=0.01 lora_r=4 lora_alpha=8 sample_packing=false evals_per_epoch=null "
SMALL += "saves_per_epoch=null pad_to_sequence_len=false"
MODELS = {"qwen3.5": "Qwen/Qwen3.5-0.8B", "granite": "ibm-granite/granite-4.1-3b"}
MODELS |= {"minicpm5": "openbmb/MiniCPM5-1B"}
# Modules with an adapter: in Qwen3.5 three linear layers of linear attention, and four of the other layer.
ADAPTED = {"qwen3.5": 3 * 6 + 7, "granite": 2 * 7, "minicpm5": 2 * 7}


def small_base(family: str, folder: Path) -> Path:
    """Write the architecture of a model with tiny sizes, random weights and its family's template."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    from tunebook.models.random_model import config_of

    torch.manual_seed(0)
    family_tokenizer(family, folder, small=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes: dict[str, Any] = {"hidden": 64, "intermediate": 128, "heads": 4, "kv_heads": 2, "head_dim": 16}
    shape = shapes.find(MODELS[family])
    if shape.delta:
        widths = {"key_heads": 2, "value_heads": 4, "key_dim": 16, "value_dim": 16}
        sizes["delta"] = shape.delta.model_copy(update=widths)
    layers = shape.delta.every if shape.delta else 2
    small = shape.model_copy(update={**sizes, "layers": layers, "vocab": len(tokenizer)})
    ends = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("eos", "pad")}
    config = config_of(small, initializer_range=0.2, **ends)
    if family == "granite":
        same = {key: value for key, value in config.to_dict().items() if key != "model_type"}
        config = transformers.GraniteConfig(**same, logits_scaling=10.0, residual_multiplier=0.22)
    if family != "qwen3.5":
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return folder
    tower = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    whole = transformers.Qwen3_5Config(
        text_config=config.to_dict(),
        vision_config={**tower, "num_position_embeddings": 16},
        tie_word_embeddings=shape.tied,
    )
    transformers.Qwen3_5ForConditionalGeneration(whole).save_pretrained(folder)
    return folder


def prepare(family: str, folder: Path) -> Run:
    """Write the inputs of a run of chat-lora as its real tier is, on a tiny model and four rows, which
    are one batch."""
    recipe = recipes.load_recipe("chat-lora")
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    resolved = resolve(recipe, Options("real", "cpu", set=SMALL, model=MODELS[family], eval="quick"))
    resolved.config["base_model"] = str(small_base(family, folder / family / "base"))
    resolved.config.pop("test_datasets")
    run = Run(folder / family / "run")
    rows = prepare_rows(resolved, dataset)
    for split in ("train", "dev", "test"):
        write_jsonl(run / "data" / f"{split}.jsonl", rows[split][:4])
    write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "real", "quick"), "")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("shelf")
    runs = {family: prepare(family, folder) for family in MODELS}
    train(runs.values(), {})
    return runs


@pytest.mark.parametrize("family", MODELS)
def test_two_steps_train_what_evaluation_loads(family: str, trained: dict[str, Run]) -> None:
    import torch
    from safetensors.torch import load_file

    run = trained[family]
    log = read_json(run / "train" / "history.json")["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 2 and losses[1] < losses[0]
    weights = load_file(run / "model" / "adapter_model.safetensors")
    assert len(weights) == 2 * ADAPTED[family]
    moved = {name for name, weight in weights.items() if "lora_B" in name and weight.abs().sum() > 0}
    assert len(moved) == ADAPTED[family], "every adapter has learned"

    models = evaluators.Evaluator.of_run(run).models
    ids = torch.arange(5, 25)[None]
    seen = {}
    for name in ("base", "unmerged", "tuned"):
        with torch.no_grad():
            seen[name] = models.open(name).net(input_ids=ids).logits
    assert not torch.allclose(seen["base"], seen["tuned"], atol=1e-3), "the adapter is not loaded"
    assert torch.allclose(seen["unmerged"], seen["tuned"], atol=1e-3)


def test_every_family_of_2026_is_here() -> None:
    old = {"smollm2", "qwen3", "qwen3-base", "qwen3-instruct", "olmo3", "phi4-mini"}
    assert {row["family"] for row in model_table().values()} - old == set(MODELS)
