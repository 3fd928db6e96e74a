"""What of a real-tier config a CPU cannot run, and that nothing else is changed."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.config import recipe as recipes
from tunebook.config.for_cpu import AUTOMATIC, GPU_ONLY, LIGER, Switched, for_cpu
from tunebook.config.keys import schema
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve

# What a GPU is needed for, by the words of its key: written apart from the patterns under test.
GPU_WORDS = (
    "liger",
    "flash",
    "fsdp",
    "deepspeed",
    "compile",
    "fp8",
    "8bit",
    "cut_cross",
    "xformers",
    "offload",
)


@pytest.mark.parametrize("name", recipes.names())
def test_no_key_for_a_gpu_is_left_and_each_that_is_switched_is_listed(name: str) -> None:
    real = resolve(recipes.load_recipe(name), Options("real", "80gb", 1)).config
    here, switched = for_cpu(real)
    left = {key for key, value in here.items() if value and any(word in key for word in GPU_WORDS)}
    assert not left
    assert here["bf16"] is False and here["tf32"] is False and here["lora_mlp_kernel"] is False
    listed = {one.key for one in switched}
    differ = {key for key in real if real[key] and here.get(key) != real[key]}
    assert differ - {"plugins"} == listed - {one.key for one in switched if one.value == AUTOMATIC}
    assert set(real["plugins"]) <= set(here["plugins"]), "the recipe's plugins take part"
    for key in ("sample_packing", "gradient_checkpointing", "optimizer", "load_in_4bit", "learning_rate"):
        assert here.get(key) == real.get(key), key


def test_what_a_cpu_runs_stays_and_what_it_does_not_gets_what_it_can() -> None:
    words = "attn_implementation=flash_attention_2 optimizer=adamw_8bit gradient_checkpointing=offload "
    words += "torch_compile=true load_in_8bit=true sample_packing=true deepspeed=zero2.json"
    real = resolve(recipes.load_recipe("chat-lora"), Options("real", "80gb", 1)).config
    real |= dict(word.split("=") for word in words.split())
    here, switched = for_cpu(real)
    assert here["attn_implementation"] == "sdpa" and here["optimizer"] == "adamw_torch"
    assert here["gradient_checkpointing"] is True and here["sample_packing"] == "true"
    assert not {"torch_compile", "load_in_8bit", "deepspeed"} & here.keys()
    assert {one.key for one in switched} >= {"torch_compile", "load_in_8bit", "deepspeed", "optimizer"}
    assert not {one.key for one in switched if "lora" in one.key}, "off on a GPU, too: the base is in 8 bits"


def test_kernels_that_axolotl_enables_by_itself_are_listed() -> None:
    names = {f"lora_{part}_kernel" for part in ("mlp", "qkv", "o", "embedding")}
    config = {"adapter": "lora", "plugins": []}
    here, switched = for_cpu(config)
    assert {one.key for one in switched if one.value == AUTOMATIC} == names
    assert all(here[key] is False for key in names)
    for more in ({"lora_o_kernel": False}, {"rl": "dpo"}, {"adapter": None}):
        assert not [one for one in for_cpu(config | more)[1] if one.value == AUTOMATIC]


@pytest.mark.parametrize(
    ("value", "here", "said"),
    [
        ("auto", False, "bf16 (auto; here off)"),
        (True, None, "bf16 (true; here off)"),
        ("adamw_8bit", "adamw_torch", "bf16 (adamw_8bit; here adamw_torch)"),
        ({"a": 1}, None, "bf16 (set; here off)"),
    ],
)
def test_a_switched_key_is_named_with_both_values(value: Any, here: Any, said: str) -> None:
    assert str(Switched("bf16", value, here)) == said


# Keys with such a word that are not for GPUs: shards of files, ReLoRA's states; and those of the CPU overlay.
HARMLESS = {"dataset_shard_idx", "dataset_shard_num", "num_dataset_shards_to_save", "relora_cpu_offload"}
HARMLESS |= {f"lora_{part}_kernel" for part in ("mlp", "qkv", "o", "embedding")}
HARMLESS |= {"qlora_sharded_model_loading"}


def test_every_key_of_axolotl_for_gpus_is_known(lane: str) -> None:
    """A key of a new version of Axolotl has to be sorted into one of the two lists."""
    models = schema()["models"]
    keys = set(models["AxolotlInputConfig"]).union(*(models[name] for name in schema()["plugins"].values()))
    words = (*GPU_WORDS, "gpu", "kernel", "cuda", "parallel", "triton", "shard")
    named = {key for key in keys if any(word in key for word in words)}
    known = {key for key in keys if GPU_ONLY.fullmatch(key) or LIGER.fullmatch(key)}
    assert named - known == HARMLESS & keys
