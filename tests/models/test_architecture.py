"""Shapes of models whose layers differ: their weights are those of transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunebook.models import shapes
from tunebook.models.random_model import config_of

KINDS = [
    *(f"Qwen/Qwen3.5-{size}" for size in ("0.8B", "2B", "4B", "9B")),
    *("Qwen/Qwen3.6-27B", "openbmb/MiniCPM5-1B", "ibm-granite/granite-4.1-3b", "ibm-granite/granite-4.1-8b"),
    *("allenai/Olmo-3-7B-Instruct", "openai/gpt-oss-20b", "google/gemma-4-E4B-it", "google/gemma-4-12B-it"),
]


@pytest.mark.slow
@pytest.mark.parametrize("base", KINDS)
def test_a_shape_has_the_weights_of_transformers_own_class(base: str) -> None:
    """Weights without data: the class says how many there are, the table only the sizes."""
    import torch
    from transformers import AutoModelForCausalLM

    shape = shapes.find(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(shape))
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    small = ("in_proj_a", "in_proj_b", "per_layer")
    adapted = [
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name and not any(s in name for s in small)
    ]
    assert shape.quantised_parameters == sum(adapted)


def test_the_published_totals_are_met() -> None:
    """MiniCPM5: its card. gpt-oss: 20.9 and 3.6 billion of its card, without the embedding in the second."""
    assert shapes.find("openbmb/MiniCPM5-1B").parameters == 1_080_632_832
    mixture = shapes.find("openai/gpt-oss-20b")
    assert mixture.parameters == 20_914_757_184
    assert round((mixture.active_parameters - mixture.vocab * mixture.hidden) / 1e9, 1) == 3.6
    dense = shapes.find("Qwen/Qwen3-8B")
    assert dense.active_parameters == dense.parameters


@pytest.mark.parametrize("base", KINDS)
def test_a_config_json_is_read_to_the_same_shape(base: str, tmp_path: Path) -> None:
    shape = shapes.find(base)
    config = config_of(shape).to_dict()
    # As published: the values that transformers' class keeps by layer stand beside the others.
    if shape.delta:
        config["full_attention_interval"] = shape.delta.every
    if shape.overall:
        config["global_head_dim"] = shape.overall.head_dim
        config["num_global_key_value_heads"] = None if shape.overall.values else shape.overall.kv_heads
    kind = str(config["model_type"]).removesuffix("_text")
    whole = {"model_type": kind, "text_config": config} if kind != config["model_type"] else config
    (tmp_path / "config.json").write_text(json.dumps(whole, default=str))
    read = shapes.find(str(tmp_path))
    rest = {"source", "positions"}
    assert read.model_dump(exclude=rest) == shape.model_dump(exclude=rest)
