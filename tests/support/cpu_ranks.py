"""A plugin for tests only: let Axolotl train in several gloo processes on a CPU, and show the shards.

Axolotl and accelerate take "several processes" to mean GPUs; three places are turned to the CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class CPURanks(BasePlugin):
    """DDP and FSDP2 on gloo."""

    def register(self, cfg: Any) -> None:
        os.environ["ACCELERATE_USE_CPU"] = "true"
        from axolotl.loaders.model import ModelLoader

        set_device_map = ModelLoader._set_device_map_config

        def on_cpu(loader: Any) -> None:
            set_device_map(loader)
            if "device_map" in loader.model_kwargs:
                loader.model_kwargs["device_map"] = {"": "cpu"}

        ModelLoader._set_device_map_config = on_cpu
        if cfg.get("fsdp_version"):
            self._shard_on_cpu()

    def _shard_on_cpu(self) -> None:
        from accelerate.parallelism_config import ParallelismConfig
        from accelerate.state import PartialState
        from accelerate.utils import DistributedType

        build, init = ParallelismConfig.build_device_mesh, PartialState.__init__
        ParallelismConfig.build_device_mesh = lambda self, device: build(self, "cpu")

        def as_gpus(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            if self._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
                self._shared_state["distributed_type"] = DistributedType.MULTI_GPU

        PartialState.__init__ = as_gpus

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [Shards(Path(cfg.output_dir))]


class Shards(TrainerCallback):
    """Writes `shards-<rank>.json`: the share of all trained weights that this process holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        weights = [weight for weight in kwargs["model"].parameters() if weight.requires_grad]
        local = sum(getattr(weight, "to_local", lambda weight=weight: weight)().numel() for weight in weights)
        share = local / sum(weight.numel() for weight in weights)
        path = self.folder / f"shards-{os.environ.get('RANK', 0)}.json"
        path.write_text(json.dumps({"world": args.world_size, "share": share}))
