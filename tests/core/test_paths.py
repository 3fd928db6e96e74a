"""What child processes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunebook.core.paths import child_environment


def test_children_keep_bytecode_even_where_none_is_to_lie_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path))
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    told = child_environment()
    assert told["PYTHONPYCACHEPREFIX"] == str(tmp_path / "bytecode")
    assert "PYTHONDONTWRITEBYTECODE" not in told
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "elsewhere")
    assert child_environment()["PYTHONPYCACHEPREFIX"] == "elsewhere", "what a person says goes first"
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    assert "PYTHONPYCACHEPREFIX" not in child_environment(), "Python keeps it beside the source"


def test_children_that_run_elsewhere_find_a_relative_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", "here")
    monkeypatch.delenv("HF_HOME", raising=False)
    assert child_environment()["HF_HOME"] == str(Path.cwd() / "here" / "huggingface")


def test_threads_soon_wait_asleep_unless_a_person_says_how_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert child_environment()["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in child_environment(), "it would take precedence"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert child_environment()["GOMP_SPINCOUNT"] == "7"
