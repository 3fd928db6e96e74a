"""Replay: a share of general conversations that is mixed into training, against forgetting.

A recipe has them as a second entry of `datasets:`, which plain Axolotl reads as well. `replay`, a key of
trial.yaml and of SET, says how many of them are taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig

KEY = "replay"
GENERAL = "datasets/general/train.jsonl"


class Replay(NamedTuple):
    """Replay rows to be drawn when the train rows are known: `share` of them per train row, from `entry`, the
    recipe's second entry of `datasets:`."""

    entry: dict[str, Any]
    share: float


def take_replay(trial: AxolotlConfig, overrides: AxolotlConfig) -> tuple[float | None, dict[str, Any]]:
    """Take `replay` out of both layers, and return its value and what it makes of the run's identity: None
    for all rows of the entry, 0.0 for none of them, otherwise how many there are to one train row.

    Raises:
        InputError: neither a number above 0 and up to 1 nor `none`.
    """
    layers = [layer.pop(KEY) for layer in (trial, overrides) if KEY in layer]
    if not layers or layers[-1] is None:
        return None, {}
    value = layers[-1]
    share = 0.0 if value == "none" else value
    good = isinstance(share, int | float) and not isinstance(share, bool)
    if not good or not 0 <= share <= 1 or (share == 0 and value != "none"):
        text = f"{KEY}: expected none or a share above 0, at most 1 (got {value!r})."
        raise InputError(f"trial.yaml or --set (SET=): {text}", code="config.bad_replay")
    return float(share), {KEY: float(share)}


def apply_replay(config: AxolotlConfig, share: float | None) -> tuple[AxolotlConfig, Replay | None]:
    """Return `config` with the recipe's own rows only, and the rows to be drawn, if any; with a `share` of
    None, `config` as it is.

    Raises:
        InputError: a share is given, and there is not just one further entry that it could be of.
    """
    entries = config.get("datasets")
    if share is None or not isinstance(entries, list):
        return config, None
    own = {**config, "datasets": entries[:1]}
    if share == 0:
        return own, None
    if len(entries) != 2:
        text = f"{KEY}: a share is of the second entry of datasets:, and there are {len(entries)} entries. "
        text += "Leave it out, or write `replay: none`."
        raise InputError(f"trial.yaml or --set (SET=): {text}", code="config.bad_replay")
    return own, Replay(entries[1], share)
