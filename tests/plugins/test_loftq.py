"""LoftQ makes up for what quantising the base took away, and leaves the base alone."""

from __future__ import annotations

import copy

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model

from tunebook.plugins.loftq import make_up


class Base(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = Linear4bit(64, 128, bias=False, quant_type="nf4")
        self.down = Linear4bit(128, 64, bias=False, quant_type="nf4")
        self.config = {"tie_word_embeddings": False}
        self.is_loaded_in_4bit = True  # what PEFT asks


def quantised() -> tuple[Base, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    base = Base()
    before = {name: copy.deepcopy(layer.weight.data) for name, layer in base.named_children()}
    return base.to("cpu"), before  # bitsandbytes quantises a layer as it is moved


@pytest.mark.parametrize("scaled", [False, True])
def test_the_adapter_makes_up_for_the_loss_as_well_as_its_rank_allows(scaled: bool) -> None:
    base, before = quantised()
    model = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=12, use_rslora=scaled, target_modules=["up", "down"])
    )
    stored = {name: layer.base_layer.weight.clone() for name, layer in base.named_children()}
    make_up(model, before)
    for name, layer in base.named_children():
        weight = layer.base_layer.weight
        assert torch.equal(weight, stored[name]), "the base is as it was"
        lost = before[name] - dequantize_4bit(weight.data, weight.quant_state)
        left = lost - layer.get_delta_weight("default")
        values = torch.linalg.svdvals(lost)
        assert left.square().sum().item() == pytest.approx(values[4:].square().sum().item(), rel=1e-4)
        assert left.norm() < 0.95 * lost.norm()


def test_without_4_bits_there_is_nothing_to_make_up_for() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(8, 8))
    with pytest.raises(ValueError, match="load_in_4bit"):
        make_up(get_peft_model(plain, LoraConfig(r=2, target_modules=["0"])), {})
