"""Plugins that change a model: what they leave equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.forked import forked
from tests.support.lazy import lazy
from tunebook.core.files import read_json
from tunebook.runs.checkpoints import ROWS
from tunebook.training.launch import trained_rows

torch, peft, bitsandbytes = lazy("torch"), lazy("peft"), lazy("bitsandbytes")
training = lazy("tunebook.plugins.training")


@pytest.mark.parametrize("items", [None, 7])
def test_only_trained_logits_leave_loss_and_gradients_as_they_are(items: int | None) -> None:
    plain = tiny.model()
    other = copy.deepcopy(plain)
    training.only_trained_logits(other)
    ids = torch.randint(3, 1000, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, 8:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[1, :9] = labels[2, :5] = labels[0, :4] = -100
    extra = {} if items is None else {"num_items_in_batch": torch.tensor(items)}
    losses = [m(input_ids=ids, attention_mask=mask, labels=labels, **extra) for m in (plain, other)]
    assert losses[1].loss.item() == pytest.approx(losses[0].loss.item(), rel=1e-6)
    assert losses[1].logits.shape == (1, 4 + 3 + 7, tiny.WORDS)
    for found in losses:
        found.loss.backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, other(input_ids=ids).logits), "without labels"


def test_a_copy_of_a_model_with_only_trained_logits_has_its_own_weights() -> None:
    plain = tiny.model()
    other = copy.deepcopy(plain)
    training.only_trained_logits(other)
    copied = copy.deepcopy(other)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(2)
    ids = torch.randint(3, 1000, (2, 12), generator=torch.Generator().manual_seed(0))
    losses = [model(input_ids=ids, labels=ids).loss.item() for model in (plain, copied, other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6) != losses[2]


ADAPTERS: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(r=4, init_lora_weights=False, target_modules=["q_proj"]),
    "lora on the output": lambda: peft.LoraConfig(r=4, init_lora_weights=False, target_modules=["lm_head"]),
    "output trained": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "ia3": lambda: peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]),
    "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=3),
    "p-tuning": lambda: peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=8),
    "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3),
}


@pytest.mark.parametrize("task", ["CAUSAL_LM", None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_only_trained_logits_pass_an_output_with_an_adapter(
    adapter: str, dtype: str, task: str | None
) -> None:
    """PEFT puts its own layer in place of the output layer, after Axolotl has built the model; with the task
    type that Axolotl sets, it calls the base model past its hooks."""
    torch.manual_seed(0)
    config = ADAPTERS[adapter]()
    if task is None and config.is_prompt_learning:
        pytest.skip("PEFT has virtual tokens only for a task type")
    config.task_type = task
    plain = peft.get_peft_model(tiny.model().to(getattr(torch, dtype)), config, autocast_adapter_dtype=False)
    other = copy.deepcopy(plain)
    training.CPUArguments().post_model_load(SimpleNamespace(gradient_checkpointing=True), other)
    ids = torch.randint(3, 1000, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :9] = -100
    found = [model(input_ids=ids, labels=labels) for model in (plain, other)]
    assert found[1].loss.item() == pytest.approx(found[0].loss.item(), rel=1e-6)
    assert found[1].logits.shape == (1, 2 * 3, tiny.WORDS)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_backward_pass_ends_at_the_lowest_adapter(checkpointing: bool) -> None:
    base = tiny.model()
    base.enable_input_require_grads()  # as Axolotl does for every adapter
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], layers_to_transform=[1])
    model = peft.get_peft_model(base, lora)
    embedded: list[bool] = []
    base.model.layers[0].register_forward_hook(lambda *a: embedded.append(a[2].requires_grad))
    ids = torch.randint(3, 1000, (2, 8), generator=torch.Generator().manual_seed(0))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    before = gradients()
    training.CPUArguments().post_model_load(SimpleNamespace(gradient_checkpointing=checkpointing), model)
    after = gradients()
    assert embedded == [True, checkpointing]
    assert len(before) == 4 and all(map(torch.equal, before, after))


def test_4bit_layers_pass_their_gradient_after_an_evaluation() -> None:
    layer = bitsandbytes.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    model = torch.nn.Sequential(layer)
    model = model.to("cpu")  # quantises
    model.disable_input_require_grads = lambda: None  # type: ignore[assignment]
    training.CPUArguments().post_model_load(SimpleNamespace(gradient_checkpointing=False), model)
    rows = torch.randn(3, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0))

    def gradient() -> torch.Tensor:
        given = rows.clone().requires_grad_()
        model.train()(given).square().sum().backward()
        assert given.grad is not None
        return given.grad

    before = gradient()
    with torch.no_grad():
        model.eval()(rows)
    assert torch.equal(gradient(), before) and before.abs().sum() > 0


def loaded_as(config: Path) -> set[str]:
    """Return the dtypes of the weights that Axolotl's own loader makes of a config."""
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager
    from axolotl.loaders import ModelLoader, load_tokenizer

    cfg = load_cfg(str(config))
    PluginManager.get_instance().load_datasets(cfg)
    model, _ = ModelLoader(cfg, load_tokenizer(cfg)).load()
    return {str(weight.dtype) for weight in model.parameters()}


@pytest.mark.slow
def test_fp32_weights_stay_so_where_bf16_computes(tmp_path: Path) -> None:
    """Axolotl reads the dtype of the weights before `pre_model_load`."""
    base = tiny.model().to(torch.bfloat16)
    base.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    config = {"base_model": str(tmp_path), "bf16": True, "tf32": False, "learning_rate": 1e-4}
    config |= {"datasets": [{"path": "x.jsonl", "type": "chat_template"}], "micro_batch_size": 1}
    config |= {"gradient_accumulation_steps": 1, "num_epochs": 1, "output_dir": str(tmp_path / "out")}
    config |= {"plugins": ["tunebook.plugins.Float32Weights", "tunebook.plugins.CPUArguments"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert forked(loaded_as, tmp_path / "config.yaml") == {"torch.float32"}


def test_the_rows_that_axolotl_left_are_counted(tmp_path: Path) -> None:
    trainer = SimpleNamespace(
        is_world_process_zero=lambda: True,
        train_dataset=[1, 2, 3],
        args=SimpleNamespace(seed=42, data_seed=None),
        _get_train_sampler=lambda: None,
    )
    cfg = SimpleNamespace(output_dir=str(tmp_path / "train"), adapter="lora")
    training.Progress().add_callbacks_post_trainer(cfg, trainer)
    counted = read_json(tmp_path / "train" / ROWS)
    assert trained_rows(counted, 2.0) == trained_rows(counted, None) == 3
    assert trained_rows(counted, 0.34) == 1, "STEPS= ended within the first epoch"
    assert trained_rows(None, 1.0) is None
    trainer.train_dataset = iter([])  # streamed: nobody knows
    training.Progress().add_callbacks_post_trainer(cfg, trainer)
    assert read_json(tmp_path / "train" / ROWS) == counted
