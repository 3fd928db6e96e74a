"""LoftQ makes up for what quantising the base took away, and leaves the base alone."""

from __future__ import annotations

import copy

import pytest

from tests.support.lazy import lazy

torch, peft, bitsandbytes = lazy("torch"), lazy("peft"), lazy("bitsandbytes")
loftq = lazy("tunebook.plugins.loftq")


def quantised() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    base = torch.nn.Module()
    base.up = bitsandbytes.nn.Linear4bit(64, 128, bias=False, quant_type="nf4")
    base.down = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4")
    base.config = {"tie_word_embeddings": False}
    base.is_loaded_in_4bit = True  # what PEFT asks
    before = {name: copy.deepcopy(layer.weight.data) for name, layer in base.named_children()}
    return base.to("cpu"), before  # bitsandbytes quantises a layer as it is moved


@pytest.mark.parametrize("scaled", [False, True])
def test_the_adapter_makes_up_for_the_loss_as_well_as_its_rank_allows(scaled: bool) -> None:
    base, before = quantised()
    model = peft.get_peft_model(
        base, peft.LoraConfig(r=4, lora_alpha=12, use_rslora=scaled, target_modules=["up", "down"])
    )
    stored = {name: layer.base_layer.weight.clone() for name, layer in base.named_children()}
    loftq.make_up(model, before)
    for name, layer in base.named_children():
        weight = layer.base_layer.weight
        assert torch.equal(weight, stored[name]), "the base is as it was"
        lost = before[name] - bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        left = lost - layer.get_delta_weight("default")
        values = torch.linalg.svdvals(lost)
        assert left.square().sum().item() == pytest.approx(values[4:].square().sum().item(), rel=1e-4)
        assert left.norm() < 0.95 * lost.norm()


@pytest.mark.slow
def test_without_4_bits_there_is_nothing_to_make_up_for() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(8, 8))
    with pytest.raises(ValueError, match="load_in_4bit"):
        loftq.make_up(peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["0"])), {})
