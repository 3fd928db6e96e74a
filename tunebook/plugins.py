"""Axolotl plugins for what Axolotl has no key for. Named in a config's `plugins:`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback, set_seed

CHANGED_AFTER = 10
SAMPLED = 4096  # weights of each tensor


class SeededInit(BasePlugin):
    """Seed the generators before the model loads: Axolotl's `seed` does not cover the first weights
    of an adapter or head, so that two runs of one config would differ."""

    def pre_model_load(self, cfg: Any) -> None:
        set_seed(cfg.seed if cfg.seed is not None else 42)


class CPUArguments(BasePlugin):
    """Let a CPU train in bf16: transformers refuses `bf16: true` without a GPU, and Axolotl has no key
    for `use_cpu`. The weights are loaded in bf16 all the same, by the config's `bf16: true`."""

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        autocast = bool(cfg.bf16) and cfg.torch_dtype == torch.float32
        return {"use_cpu": True, "bf16": autocast, "bf16_full_eval": False}


class Float32Weights(BasePlugin):
    """Load the weights in fp32 while `bf16` computes in autocast. Axolotl's `bf16: true` loads them in
    bf16, where a step of 1e-5 is too small to change most of them."""

    def pre_model_load(self, cfg: Any) -> None:
        set_seed(cfg.seed if cfg.seed is not None else 42)
        cfg.torch_dtype = torch.float32


class Progress(BasePlugin):
    """Append a JSON line for each training step to the file named by TUNEBOOK_EVENTS, and for full
    tuning write the share of weights that have changed after ten steps."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        path = os.environ.get("TUNEBOOK_EVENTS")
        callbacks: list[TrainerCallback] = [_ProgressCallback(Path(path))] if path else []
        return callbacks if cfg.adapter else [*callbacks, ChangedWeights(Path(cfg.output_dir))]


class ChangedWeights(TrainerCallback):
    """Writes `changed.json`: of a sample of the trainable weights, the share whose value is another
    after ten steps, as process 0 sees its own shard."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "changed.json"
        self.before: dict[str, torch.Tensor] = {}

    def _sample(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        sample = {}
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                local = getattr(weight, "to_local", lambda weight=weight: weight)().detach().flatten()
                sample[name] = local[:: max(1, len(local) // SAMPLED)].clone()
        return sample

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.before = self._sample(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.before and state.global_step == min(CHANGED_AFTER, state.max_steps):
            after = self._sample(kwargs["model"])
            changed = sum(int((after[name] != old).sum()) for name, old in self.before.items())
            total = sum(old.numel() for old in self.before.values())
            self.before = {}
            if state.is_world_process_zero:
                found = {"steps": state.global_step, "sampled": total, "share": changed / total}
                self.path.write_text(json.dumps(found))


class _ProgressCallback(TrainerCallback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def _write(self, **event: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": "train", "time": time.time(), **event}) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(done=state.global_step, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(done=state.global_step, total=state.max_steps)
