"""What a tuning method cannot be combined with is refused before training, with the key and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunebook.check.config import check_config
from tunebook.config import recipe
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError
from tunebook.models import methods
from tunebook.models.methods import ADAPTERS_PLUGIN, METHODS, merge_refusal

START = """\
base_model: Qwen/Qwen3-1.7B
datasets:
  - path: datasets/banking77/rows/train.jsonl
seed: 42
micro_batch_size: 8
"""
PREFIX = f"{START}adapter: prefix_tuning\nnum_virtual_tokens: 8\nplugins: [{ADAPTERS_PLUGIN}]\n"
IA3 = f"{START}adapter: ia3\nplugins: [{ADAPTERS_PLUGIN}]\n"
LORA = f"{START}adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n"
QLORA = LORA.replace("adapter: lora", "adapter: qlora") + "load_in_4bit: true\n"
LOFTQ = f"{QLORA}plugins: [tunebook.plugins.LoftQ]\n"
PAIRS = f"{LORA}rl: dpo\n"
HEAD = f"{LORA}model_type: {methods.HEAD_MODEL_TYPE}\nplugins: [{methods.HEAD_PLUGIN}]\n"


def refused(
    text: str, folder: Path, patch: pytest.MonkeyPatch, overlay: str = "80gb", words: str = ""
) -> str:
    """Return what check says about a recipe; "" when it has nothing to say."""
    (folder / "some").mkdir(exist_ok=True)
    (folder / "some" / "recipe.yaml").write_text(text)
    patch.setenv("TUNEBOOK_RECIPES", str(folder))
    resolved = resolve(
        recipe.load_recipe("some"), Options("real", overlay, set=words), for_this_machine=False
    )
    try:
        check_config(resolved)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (PAIRS + "sample_packing: true\n", "sample_packing", "pairs cannot be packed"),
        (PAIRS + "lora_model_dir: runs/x\n", "lora_model_dir", "does not load it for preference tuning"),
        (PAIRS.replace("dpo", "kto"), "rl", "expected dpo"),
        (IA3 + "rl: dpo\n", "adapter", "tested with lora and qlora only"),
        (PREFIX + "sample_packing: true\n", "sample_packing", "position ids"),
        (PREFIX + "gradient_checkpointing: true\n", "gradient_checkpointing", "key-value cache"),
        (PREFIX + "lora_qkv_kernel: true\n", "lora_qkv_kernel", "replaces LoRA layers"),
        (PREFIX + "prefix_init_std: 0.0\n", "prefix_init_std", "greater than 0 (got 0.0)"),
        (
            PREFIX + "prefix_projection: true\nencoder_hidden_size: 8\nprefix_init_std: 0.1\n",
            "prefix_init_std",
            "a network generates them",
        ),
        (
            PREFIX.replace("prefix", "p") + "encoder_reparameterization_type: CNN\n",
            "encoder_reparameterization_type",
            "'MLP' or 'LSTM' (got 'CNN')",
        ),
        (PREFIX.replace("tokens: 8", "tokens: 0"), "num_virtual_tokens", "missing"),
        (PREFIX.replace("tokens: 8", "tokens: -1"), "num_virtual_tokens", "greater than or equal to 1"),
        (PREFIX + "lora_r: 8\n", "lora_r", "no effect with adapter: prefix_tuning"),
        (PREFIX + "load_in_4bit: true\n", "load_in_4bit", "lora and qlora only"),
        (PREFIX + "prefix_projection: true\n", "encoder_hidden_size", "missing"),
        (PREFIX + "bottleneck_size: 8\n", "bottleneck_size", "belongs to adapter: bottleneck"),
        (IA3 + "deepspeed: some.json\n", "deepspeed", "sharded"),
        (PREFIX.replace("num_virtual_tokens: 8\n", ""), "num_virtual_tokens", "missing"),
        (
            PREFIX.replace(f"[{ADAPTERS_PLUGIN}]", f"[{ADAPTERS_PLUGIN}, {methods.HEAD_PLUGIN}]"),
            "adapter",
            "padding",
        ),
        (IA3 + "peft_layers_to_transform: [1]\n", "peft_layers_to_transform", "no effect"),
        (IA3 + "lora_mlp_kernel: true\n", "lora_mlp_kernel", "does not have"),
        (IA3.replace(ADAPTERS_PLUGIN, "tunebook.plugins.SeededInit"), "plugins", ADAPTERS_PLUGIN),
        (IA3.replace("ia3", "bottleneck"), "bottleneck_size", "missing"),
        (IA3.replace("ia3", "lora") + "num_virtual_tokens: 8\n", "num_virtual_tokens", "got adapter: lora"),
        (LORA + "peft_init_lora_weights: pissa_niter_4\n", "peft_init_lora_weights", "moves part"),
        (LORA + "peft: {loftq_config: {loftq_bits: 4}}\n", "peft", "moves part"),
        (
            LORA + "peft_init_lora_weights: loftq\n",
            "peft_init_lora_weights",
            "tunebook.plugins.LoftQ",
        ),
        (LORA + "plugins: [tunebook.plugins.LoftQ]\n", "plugins", "needs adapter: qlora"),
        (LOFTQ + "peft_use_dora: true\n", "peft_use_dora", "magnitudes"),
        (LOFTQ + "deepspeed: some.json\n", "deepspeed", "sharded"),
        (LOFTQ + "rl: dpo\n", "rl", "reference"),
        (HEAD, "lora_mlp_kernel", "causal models only"),
        (HEAD + "lora_o_kernel: true\n", "lora_mlp_kernel", "causal models only"),
        (HEAD.replace(f"model_type: {methods.HEAD_MODEL_TYPE}\n", ""), "model_type", methods.HEAD_MODEL_TYPE),
        (HEAD + "sample_packing: true\n", "sample_packing", "last token"),
        (HEAD + "excess_length_strategy: truncate\n", "excess_length_strategy", "end of a row"),
    ],
)
def test_refused(text: str, key: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(text, tmp_path, monkeypatch)
    lines = [line for line in said.splitlines() if f": {key}: " in line]
    assert len(lines) == 1, said
    assert reason in lines[0]
    number = [n for n, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:")]
    assert not number or f"recipe.yaml:{number[0]}: {key}: " in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        PREFIX,
        PREFIX + "gradient_checkpointing: false\nlora_dropout: 0.0\n",
        PREFIX.replace("prefix", "prompt") + "gradient_checkpointing: true\n",
        IA3 + "gradient_checkpointing: true\nsample_packing: true\npeft_autocast_adapter_dtype: false\n",
        IA3.replace("ia3", "bottleneck") + "bottleneck_size: 8\npeft_layers_to_transform: [1]\n",
        LORA + "peft_init_lora_weights: gaussian\npeft_use_dora: true\npeft_use_rslora: true\n",
        LOFTQ,
        HEAD + "lora_mlp_kernel: false\n",
        HEAD.replace("adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n", ""),
    ],
)
def test_allowed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(text, tmp_path, monkeypatch) == ""


def test_an_overlay_does_not_switch_on_what_the_method_forbids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24gb saves memory by checkpointing; a prefix cannot, and a recipe that says so is left alone."""
    off = PREFIX + "gradient_checkpointing: false\n"
    assert refused(off, tmp_path, monkeypatch, "24gb") == ""
    said = refused(off, tmp_path, monkeypatch, "24gb", words="gradient_checkpointing=true")
    assert said.startswith("--set (SET=) or hardware/24gb.yaml: gradient_checkpointing: ")
    assert "fsdp_version" in refused(off, tmp_path, monkeypatch, "8x80gb-fsdp2")


def test_keys_without_the_plugin_name_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = START + "adapter: prefix_tuning\nnum_virtual_tokens: 8\n"
    with pytest.raises(InputError, match=f"recipe.yaml:7: num_virtual_tokens: .*Add {ADAPTERS_PLUGIN}"):
        refused(text, tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"num_virtual_token: unknown key. Did you mean num_virtual_tokens"):
        refused(PREFIX.replace("tokens", "token"), tmp_path, monkeypatch)


def test_what_merges() -> None:
    assert [name for name in METHODS if merge_refusal(name) is None] == ["ia3"]
    assert merge_refusal("lora") is None and merge_refusal("qlora") is None
