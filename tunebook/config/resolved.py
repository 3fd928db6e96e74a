"""The composed config of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunebook.config.overrides import Tier
from tunebook.config.recipe import Recipe
from tunebook.config.replay import GENERAL, Replay
from tunebook.core.files import AxolotlConfig
from tunebook.hardware import overlays


@dataclass(frozen=True)
class Resolved:
    """A composed config. `config` is the final Axolotl config, except for run-folder paths; `identity` holds
    the settings hashed into the run id; `world` is the number of training processes; `replay` the rows
    that are mixed into training, drawn from another file.
    """

    recipe: Recipe
    tier: Tier
    overlay: overlays.Overlay | None
    world: int
    config: AxolotlConfig
    identity: dict[str, Any]
    changed: list[str]
    replay: Replay | None = None

    @property
    def mixes_general(self) -> bool:
        """Whether general conversations are mixed into training: those that `replay` draws, or ours whole."""
        entries = self.config.get("datasets") or []
        return self.replay is not None or any(entry.get("path") == GENERAL for entry in entries[1:])

    @property
    def hardware(self) -> str | None:
        """Name of the hardware overlay."""
        return self.overlay.name if self.overlay else None
