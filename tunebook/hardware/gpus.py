"""The GPUs of hardware/facts/gpus.yaml: memory, speed, and dated prices."""

from __future__ import annotations

import datetime
import difflib
from functools import cache
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import ROOT
from tunebook.hardware.capabilities import AMPERE

FILE = "hardware/facts/gpus.yaml"
API_FILE = "hardware/facts/api_prices.yaml"
# Overlay by the memory of one GPU (GiB); GPUs older than Ampere have their own overlay.
OVERLAYS = ((70, "80gb"), (40, "48gb"), (0, "24gb"))


class Utilisation(BaseModel):
    """Share of the peak FLOP/s that training reaches."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: float
    high: float
    basis: Literal["measured", "published", "estimated"]
    source: str | None = None


class Price(BaseModel):
    """On-demand dollars per GPU-hour."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    usd: float
    provider: str
    source: str
    read: datetime.date | None


class ApiPrice(BaseModel):
    """Dollars per million tokens of a model behind an API, at the standard tier without caching."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float
    output: float
    source: str
    read: datetime.date


class Gpu(BaseModel):
    """One GPU model. `tflops` is its dense 16-bit speed, `gbs` its memory bandwidth in GB/s."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    gib: float
    capability: float
    tflops: float
    gbs: float
    nvlink: bool = False
    utilisation: Utilisation
    price: Price | None = None

    @property
    def overlay(self) -> str:
        """Name of the overlay in hardware/ for a single GPU of this model."""
        if self.capability < AMPERE:
            return "t4-16gb"
        return next(name for least, name in OVERLAYS if self.gib > least)


@cache
def gpus() -> dict[str, Gpu]:
    """Return every GPU of the table, in its order: smallest to largest."""
    table = yaml.load((ROOT / FILE).read_text(), Loader=yaml.CSafeLoader)
    return {key: Gpu.model_validate(value) for key, value in table.items()}


@cache
def api_prices() -> dict[str, ApiPrice]:
    """Return the APIs whose prices `make plan` compares with the cost of 1,000 answers of your own model."""
    table = yaml.load((ROOT / API_FILE).read_text(), Loader=yaml.CSafeLoader)
    return {key: ApiPrice.model_validate(value) for key, value in table.items()}


def gpu(key: str) -> Gpu:
    """Return the GPU called `key`.

    Raises:
        InputError: the table has no such GPU.
    """
    table = gpus()
    if key.lower() in table:
        return table[key.lower()]
    close = difflib.get_close_matches(key.lower(), table, n=2, cutoff=0.4)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    text = f"{key!r} is not in {FILE}.{hint} Known: {', '.join(table)}."
    raise InputError(Problem(text, key="GPU", code="hardware.unknown_gpu"))


def own_price(usd: float) -> Price:
    """Return a price given by the user."""
    return Price(usd=usd, provider="PRICE=", source="the command line", read=None)
