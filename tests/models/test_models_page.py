"""docs/models.md has the table of the models as the code reads them."""

from __future__ import annotations

import importlib
from typing import Any

from tunebook.core.paths import ROOT
from tunebook.models.registry import model_table
from tunebook.report.markdown_blocks import block

SCRIPT: Any = importlib.import_module("scripts.write_model_docs")


def test_the_page_of_models_is_current() -> None:
    """Run scripts/write_model_docs.py after a change of the model table."""
    written = block((ROOT / "docs" / "models.md").read_text(), "shelf")
    assert written.strip() == SCRIPT.table()
    assert all(f"| {base} |" in written for base in model_table())
