"""Plugins that change a model: what they leave equal."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import tiny
from tunebook.plugins import only_trained_logits


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
