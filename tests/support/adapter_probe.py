"""A plugin for tests only: writes what the trained model is, for comparison with what was saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from safetensors.torch import save_file

IDS = [[3, 900, 41, 7, 1200, 15, 60, 2048]]


def fingerprints(tensors: Any) -> list[str]:
    """Return the sorted hashes of the distinct tensors."""
    return sorted(
        {hashlib.sha256(t.detach().contiguous().view(torch.uint8).numpy()).hexdigest() for t in tensors}
    )


def logits(model: torch.nn.Module) -> torch.Tensor:
    """Return the logits of IDS: of every token, or of every label."""
    with torch.no_grad():
        found = model.eval()(input_ids=torch.tensor(IDS)).logits
    return found if found.ndim == 2 else found[:, -len(IDS[0]) :]


class Probe(BasePlugin):
    """Writes `probe.json` and `probe.safetensors` to the output folder after training."""

    def post_train(self, cfg: Any, model: Any) -> None:
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        frozen = fingerprints(weight for weight in model.parameters() if not weight.requires_grad)
        facts = {"trained": sum(weight.numel() for weight in trained), "frozen": frozen}
        (Path(cfg.output_dir) / "probe.json").write_text(json.dumps(facts))
        save_file({"logits": logits(model).contiguous()}, Path(cfg.output_dir) / "probe.safetensors")
