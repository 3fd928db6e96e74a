"""docs/models.md has the table of the models as the code reads them."""

from __future__ import annotations

import importlib
from typing import Any

from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.models.registry import model_table
from tunebook.report.markdown_blocks import block

SCRIPT: Any = importlib.import_module("scripts.write_model_docs")


def test_the_page_of_models_is_current() -> None:
    """Run scripts/write_model_docs.py after a change of the model table."""
    written = block((ROOT / "docs" / "models.md").read_text(), "shelf")
    assert written.strip() == SCRIPT.table()
    assert all(f"| {base} |" in written for base in model_table())


def test_each_model_was_checked_on_both_lanes() -> None:
    """`python -m benchmarks.shelf` on each lane after a change of the model table."""
    bench: Any = importlib.import_module("benchmarks.shelf")
    lanes = read_json(bench.TARGET)
    assert [[*lane["models"]] for lane in lanes.values()] == [[*model_table()]] * 2
    for lane in lanes.values():
        for base, found in lane["models"].items():
            assert found["rows_as_written"] == found["rows"] == 4, base
            assert (
                found["losses"][1] < found["losses"][0] and found["adapters_learned"] == found["adapters"]
            ), base
            assert ("packed_differs" in found) == ("packing" not in model_table()[base]), base
            assert found.get("packed_differs", 0) < 1e-3, base
            assert found["tracked_gib"] <= found["plan_gib"] * 1.01 <= 1.15 * found["tracked_gib"], base
    assert block(bench.PAGE.read_text(), "shelf-checked").strip() == bench.table(lanes)
