"""Plugins that change a model: what they leave equal."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests import tiny
from tunebook.plugins import CPUArguments, only_trained_logits


@pytest.mark.parametrize("items", [None, 7])
def test_only_trained_logits_leave_loss_and_gradients_as_they_are(items: int | None) -> None:
    plain = tiny.model()
    other = copy.deepcopy(plain)
    only_trained_logits(other)
    ids = torch.randint(3, 1000, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, 8:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[1, :9] = labels[2, :5] = labels[0, :4] = -100
    extra = {} if items is None else {"num_items_in_batch": torch.tensor(items)}
    losses = [m(input_ids=ids, attention_mask=mask, labels=labels, **extra) for m in (plain, other)]
    assert losses[1].loss.item() == pytest.approx(losses[0].loss.item(), rel=1e-6)
    assert losses[1].logits.shape == (1, 4 + 3 + 7, 49152)
    for found in losses:
        found.loss.backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, other(input_ids=ids).logits), "without labels"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_backward_pass_ends_at_the_lowest_adapter(checkpointing: bool) -> None:
    base = tiny.model()
    base.enable_input_require_grads()  # as Axolotl does for every adapter
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], layers_to_transform=[1])
    model = get_peft_model(base, lora)
    embedded: list[bool] = []
    base.model.layers[0].register_forward_hook(lambda *a: embedded.append(a[2].requires_grad))
    ids = torch.randint(3, 1000, (2, 8), generator=torch.Generator().manual_seed(0))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    before = gradients()
    CPUArguments().post_model_load(SimpleNamespace(gradient_checkpointing=checkpointing), model)
    after = gradients()
    assert embedded == [True, checkpointing]
    assert len(before) == 4 and all(map(torch.equal, before, after))
