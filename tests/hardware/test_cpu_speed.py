"""bf16 or fp32 on a CPU: measured once for each kind of CPU, wherever the cache came from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import MachineError
from tunebook.core.files import read_json, write_json
from tunebook.hardware import cpu_speed


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that measurements were written to, in a cache of their own; a CPU is as fast as its name."""
    files: list[Path] = []

    def measure(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        files.append(Path(words[-1]))
        write_json(
            files[-1], {"cpu": cpu_speed.name(), "bf16_speedup": 2.5 if "AMX" in cpu_speed.name() else 0.05}
        )
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path))
    for variable in cpu_speed.CHOICES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cpu_speed, "run_command", measure)
    monkeypatch.setattr(cpu_speed, "name", lambda: "a CPU with AMX")
    return files


def test_a_kind_of_cpu_is_measured_once(measured: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cpu_speed.is_known_fast_bf16() and measured == []
    assert cpu_speed.has_fast_bf16() and cpu_speed.has_fast_bf16() and cpu_speed.is_known_fast_bf16()
    assert len(measured) == 1


def test_the_same_cache_on_another_cpu_says_nothing(
    measured: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_speed.has_fast_bf16()
    monkeypatch.setattr(cpu_speed, "name", lambda: "an older CPU")
    assert not cpu_speed.is_known_fast_bf16() and not cpu_speed.has_fast_bf16()
    monkeypatch.setattr(cpu_speed, "name", lambda: "a CPU with AMX")
    assert cpu_speed.has_fast_bf16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    cpu_speed.has_fast_bf16()
    assert len(set(measured)) == len(measured) == 3


def test_a_cache_that_cannot_be_written(
    measured: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpu").write_text("a file, so that no folder can be made here")
    assert cpu_speed.has_fast_bf16() and not measured[0].is_relative_to(tmp_path / "cpu")


def test_a_measurement_that_fails_is_named(measured: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "no torch here")
    monkeypatch.setattr(cpu_speed, "run_command", lambda *_, **__: failed)
    with pytest.raises(MachineError, match="no torch here") as caught:
        cpu_speed.has_fast_bf16()
    assert caught.value.code == "machine.not_measured"


@pytest.mark.slow
def test_this_cpu_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path))
    fast = cpu_speed.has_fast_bf16()
    (file,) = (tmp_path / "cpu").glob("*.json")
    found = read_json(file)
    assert found["bf16_speedup"] > 0 and fast == (found["bf16_speedup"] > cpu_speed.BF16_WORTH_IT)
