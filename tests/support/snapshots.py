"""Texts that people read, kept as files: a change of wording is a diff that a reviewer sees."""

from __future__ import annotations

import os
from pathlib import Path


def compare_with_snapshot(path: Path, text: str) -> None:
    """Assert that the file at `path` holds `text`; with UPDATE_SNAPSHOTS=1, write it instead."""
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        "if the new words are right: UPDATE_SNAPSHOTS=1 make test"
    )
