"""A trial that draws fewer rows than its file says, says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunebook.pipeline.prepare import fewer_drawn


@pytest.mark.parametrize(
    ("tier", "asked", "said"),
    [("trial", {}, ["472", "600"]), ("real", {}, []), ("trial", {"train": 400}, [])],
)
def test_fewer_rows_are_said(tier: str, asked: dict[str, int], said: list[str]) -> None:
    resolved: Any = SimpleNamespace(tier=tier, recipe=SimpleNamespace(rows={"train": 600, "dev": 9}))
    rows: Any = {"train": [{}] * 472, "dev": [{}] * 9, "test": []}
    found = fewer_drawn(rows, resolved, asked)
    assert len(found) == bool(said)
    assert all(number in found[0] for number in said)
