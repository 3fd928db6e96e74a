"""The table of known base models (models.yaml)."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig


class Row(BaseModel):
    """A row of models.yaml, as its head says."""

    model_config = ConfigDict(extra="forbid")
    parameters: int
    licence: Literal["Apache-2.0", "MIT"]
    family: str
    packing: Literal["flash-linear-attention"] | None = None
    axolotl: AxolotlConfig
    lora: AxolotlConfig = {}


@cache
def model_table() -> dict[str, Any]:
    """Return tunebook/models/models.yaml."""
    table = yaml.safe_load((Path(__file__).parent / "models.yaml").read_text())
    return {name: Row.model_validate(row).model_dump(exclude_unset=True) for name, row in table.items()}


def row_keys(model: str, adapter: object) -> AxolotlConfig:
    """Return the Axolotl keys that the model table has for `model` when it is tuned with `adapter`; null
    removes a key."""
    row = model_table().get(model, {})
    lora = row.get("lora", {}) if adapter in ("lora", "qlora") else {}
    return {**row.get("axolotl", {}), **lora}


def known_model(model: str) -> str:
    """Return `model` if it is in the model table or a local folder.

    Raises:
        InputError: it is neither, so the keys it needs are unknown.
    """
    table = model_table()
    if model in table or Path(model).is_dir():
        return model
    close = difflib.get_close_matches(model, table, n=3, cutoff=0.4)
    raise InputError(
        f"MODEL: {model!r} is neither a local folder nor in tunebook/models/models.yaml. Did you mean one of "
        f"{', '.join(close) or ', '.join(table)}? To use it without model-specific settings, pass "
        f'--set "base_model={model}" (SET=).',
        code="model.unknown_base",
    )
