"""Axolotl plugins for what Axolotl has no key for. Named in a config's `plugins:`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback, set_seed


class SeededInit(BasePlugin):
    """Seed the generators before the model loads: Axolotl's `seed` does not cover the first weights
    of an adapter or head, so that two runs of one config would differ."""

    def pre_model_load(self, cfg: Any) -> None:
        set_seed(cfg.seed if cfg.seed is not None else 42)


class CPUArguments(BasePlugin):
    """Let a CPU train in bf16: transformers refuses `bf16: true` without a GPU, and Axolotl has no key
    for `use_cpu`. The weights are loaded in bf16 all the same, by the config's `bf16: true`."""

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        return {"use_cpu": True, "bf16": False, "bf16_full_eval": False}


class Progress(BasePlugin):
    """Append a JSON line for each training step to the file named by TUNEBOOK_EVENTS."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        path = os.environ.get("TUNEBOOK_EVENTS")
        return [_ProgressCallback(Path(path))] if path else []


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
