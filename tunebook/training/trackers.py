"""Experiment trackers: which one is enabled, and whether it would work. None is used unless the config asks
for it.

Axolotl reads trackers from the config only; an environment variable alone (WANDB_PROJECT) starts nothing, and
a note says so.
"""

from __future__ import annotations

import importlib.util
import netrc
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tunebook.core.errors import Problem
from tunebook.core.files import AxolotlConfig

OFF = ("offline", "disabled", "dryrun")
QUIET_MODES = ("disabled", "")


@dataclass(frozen=True)
class Tracker:
    """A tracker. It is enabled by a value for the key `project` or by `switch: true`; `variables` are
    environment variables that suggest somebody wants it."""

    title: str
    switch: str
    project: str | None
    package: str
    variables: tuple[str, ...]

    def enabled_by(self, config: AxolotlConfig) -> str | None:
        """Return the key with which `config` enables the tracker, or None."""
        if config.get(self.switch):
            return self.switch
        return self.project if self.project and config.get(self.project) else None


WANDB = Tracker(
    "Weights & Biases",
    "use_wandb",
    "wandb_project",
    "wandb",
    ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_NAME", "WANDB_MODE"),
)
TRACKERS = (
    WANDB,
    Tracker(
        "MLflow",
        "use_mlflow",
        "mlflow_experiment_name",
        "mlflow",
        ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
    ),
    Tracker(
        "Comet", "use_comet", "comet_project_name", "comet_ml", ("COMET_PROJECT_NAME", "COMET_WORKSPACE")
    ),
    Tracker("TensorBoard", "use_tensorboard", None, "tensorboard", ("TENSORBOARD_LOGGING_DIR",)),
    Tracker(
        "Trackio",
        "use_trackio",
        "trackio_project_name",
        "trackio",
        ("TRACKIO_PROJECT_NAME", "TRACKIO_SPACE_ID"),
    ),
)
SWANLAB = ("SWANLAB_PROJECT", "SWANLAB_PROJ_NAME", "SWANLAB_MODE")


def wandb(config: AxolotlConfig) -> bool:
    """Return whether `config` asks for Weights & Biases."""
    return WANDB.enabled_by(config) is not None


def problems(config: AxolotlConfig) -> list[Problem]:
    """Return why a tracker that `config` enables would not work here: its package is missing, or there is no
    login, which it would ask for on a terminal that the training does not have."""
    found = []
    for tracker in TRACKERS:
        key = tracker.enabled_by(config)
        if key is None:
            continue
        if importlib.util.find_spec(tracker.package) is None:
            text = (
                f"{tracker.title} needs the package {tracker.package}, which is not installed. Install it: "
            )
            text += f".venv/bin/uv pip install {tracker.package}; or remove the key."
            found.append(Problem(text, key=key, code="tracker.not_installed"))
        elif tracker is WANDB and not _wandb_login(config):
            text = "no login to Weights & Biases: set WANDB_API_KEY, run `.venv/bin/wandb login`, or set "
            text += "wandb_mode: offline."
            found.append(Problem(text, key=key, code="tracker.no_login"))
        elif tracker.package == "comet_ml" and not _comet_login(config):
            text = "no login to Comet: set COMET_API_KEY, or comet_mode: offline."
            found.append(Problem(text, key=key, code="tracker.no_login"))
    return found


def unheard(config: AxolotlConfig) -> list[str]:
    """Return a sentence for each tracker that the environment names but the run will not use."""
    found = []
    for tracker in TRACKERS:
        named = [name for name in tracker.variables if os.environ.get(name)]
        if os.environ.get("WANDB_MODE", "").lower() in QUIET_MODES:
            named = [name for name in named if name != "WANDB_MODE"]
        key = tracker.enabled_by(config)
        if named and key is None:
            found.append(
                f"{named[0]} is set, but the config does not enable {tracker.title}, so nothing is sent. "
                f'To enable it, pass --set "{tracker.switch}=true" (SET=).'
            )
    if wandb(config) and _mode(config) == "disabled":
        found.append("the config enables Weights & Biases, but its mode is disabled, so nothing is sent.")
    named = [name for name in SWANLAB if os.environ.get(name)]
    if named:
        found.append(f"{named[0]} is set, but Tunebook does not support SwanLab, so nothing is sent.")
    return found


def _mode(config: AxolotlConfig) -> str:
    """Return the mode of Weights & Biases: Axolotl copies the config's mode into the environment."""
    return str(config.get("wandb_mode") or os.environ.get("WANDB_MODE") or "online").lower()


def _wandb_login(config: AxolotlConfig) -> bool:
    if _mode(config) in OFF or os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False


def _comet_login(config: AxolotlConfig) -> bool:
    mode = str(config.get("comet_mode") or os.environ.get("COMET_MODE") or "").lower()
    if mode in OFF or config.get("comet_online") is False:
        return True
    if config.get("comet_api_key") or os.environ.get("COMET_API_KEY"):
        return True
    try:
        return (Path.home() / ".comet.config").is_file()
    except RuntimeError:
        return False
