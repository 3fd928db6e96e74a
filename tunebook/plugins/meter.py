"""The cost of a training, step by step: seconds, tokens, memory. Runs in a child process only.

It works with any transformers Trainer, so that Axolotl and plain TRL are measured by the same code.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

IGNORED = -100


class Meter(TrainerCallback):
    """Writes `path` at the end of training.

    `steps` has one entry per optimizer step: `seconds`, `tokens` (all that the model processed), `real`
    (without padding), `trained` (with a label), `sequences` (conversations, packed or not) and `loss`.
    `loaded_gib` and `peak_gib` are the peak memory allocated before and during training, `reserved_gib` is
    what the allocator reserved on the GPU; on a CPU, these are the resident peak of the process, and None.
    `began` is the time of the first step in seconds since 1970.
    """

    def __init__(self, path: Path, model: torch.nn.Module, pad: int) -> None:
        self.path, self.pad, self.cuda = path, pad, torch.cuda.is_available()
        self.steps: list[dict[str, Any]] = []
        self.counts: list[torch.Tensor] = []
        self.began = self.start = self.peak = 0.0
        self.loaded: float | None = None
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is None or not module.training:
            return
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        last = ((ids != self.pad) * places).amax(dim=1, keepdim=True)  # padding is on the right
        labels, positions = kwargs.get("labels"), kwargs.get("position_ids")
        trained = ids.new_tensor(ids.numel()) if labels is None else (labels != IGNORED).sum()
        if positions is None or positions.dim() != ids.dim():
            sequences = ids.new_tensor(len(ids))
        else:
            sequences = ((positions == 0) & (places <= last)).sum()
        # Kept on the device: synchronizing here would slow down what is measured.
        self.counts.append(torch.stack([ids.new_tensor(ids.numel()), last.sum(), trained, sequences]))

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.cuda:
            self.loaded = torch.cuda.max_memory_allocated() / 2**30
        self.began = time.time()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.counts.clear()
        self.start = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        seconds = self._now() - self.start
        if self.cuda:  # Axolotl resets its counter whenever it logs
            self.peak = max(self.peak, torch.cuda.max_memory_allocated())
        counted = torch.stack(self.counts).sum(dim=0).tolist() if self.counts else [0] * 4
        names = ("tokens", "real", "trained", "sequences")
        self.steps.append({"seconds": seconds, **dict(zip(names, counted, strict=True))})

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = (kwargs.get("logs") or {}).get("loss")
        if loss is not None and self.steps:
            self.steps[-1]["loss"] = float(loss)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        if self.cuda:
            peak, reserved = self.peak, torch.cuda.max_memory_reserved()
        else:
            scale = 1 if sys.platform == "darwin" else 1024
            peak, reserved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale, None
        found = {"steps": self.steps, "began": self.began, "loaded_gib": self.loaded}
        found |= {"peak_gib": peak / 2**30, "reserved_gib": reserved and reserved / 2**30}
        self.path.write_text(json.dumps(found))
