"""Some of the files of benchmarks/mutations.py: each is forked with the right rows, or refused with a next
step."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import mutations

FILES = 30


@pytest.mark.slow
def test_no_changed_file_is_silently_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TUNEBOOK_DATASETS", "TUNEBOOK_RECIPES"):
        monkeypatch.setenv(variable, "")  # restored afterwards
    monkeypatch.setattr(mutations.fork_module, "run_check", lambda *_: 0)
    mutations.prepare(tmp_path)
    seen = mutations.sweep(FILES, 0, tmp_path)
    assert seen["wrong"] == []
    assert len(seen["equal"]) >= FILES // 4
    assert seen["refused"]
