"""A plugin for tests only: a disk that is full when a checkpoint is saved."""

from __future__ import annotations

from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class FullDisk(BasePlugin):
    """Fail in the save, after the last step."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [_Full()]


class _Full(TrainerCallback):
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise OSError("No space left on device")
