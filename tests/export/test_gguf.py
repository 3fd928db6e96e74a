"""Types of GGUF files, and files that are made once."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.export import gguf
from tunebook.runs.run import Run


def test_types_are_read_in_any_spelling() -> None:
    assert gguf.parse_quant("Q8_0, q4_k_m q8_0") == ["q8_0", "q4_k_m"]


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(InputError) as caught:
        gguf.parse_quant("q9_0")
    assert caught.value.code == "option.unknown_quant"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(Run, "settings", lambda self: {"recipe": "mine"})
    weights = tmp_path / "merged"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"one")
    write_json(weights / "config.json", {"dtype": "bfloat16"})
    return Run(tmp_path)


def test_a_quantised_file_comes_from_the_whole_one_and_is_made_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def made(words: list[str], *_: Any) -> None:
        commands.append(Path(words[0]).name)
        target = next(word for word in words if word.endswith(".partial"))
        Path(target).write_bytes(b"gguf")

    monkeypatch.setattr(gguf, "_run", made)
    path = gguf.convert(run, run / "merged", "q4_k_m", Console())
    assert path.name == "mine-q4_k_m.gguf" and path.is_file()
    assert (path.parent / "mine-bf16.gguf").is_file()
    assert commands[-1] == "llama-quantize" and len(commands) == 2
    gguf.convert(run, run / "merged", "q4_k_m", Console())
    assert len(commands) == 2


def test_a_file_that_a_kill_left_half_made_is_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "_run", lambda words, *_: Path(words[-1]).write_bytes(b"gguf"))
    path = gguf.convert(run, run / "merged", "q8_0", Console())
    path.with_suffix(".json").unlink()  # killed between the two
    path.write_bytes(b"half")
    assert gguf.convert(run, run / "merged", "q8_0", Console()).read_bytes() == b"gguf"
    assert read_json(path.with_suffix(".json"))


@pytest.mark.parametrize("content", [b"gg", b"of another run", b""])
def test_a_file_that_changed_since_is_made_again_and_told_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    monkeypatch.setattr(gguf, "_run", lambda words, *_: Path(words[-1]).write_bytes(b"gguf"))
    path = gguf.convert(run, run / "merged", "q8_0", Console())
    assert gguf.of_this_run(run, path)
    path.write_bytes(content)
    assert not gguf.of_this_run(run, path)
    assert gguf.convert(run, run / "merged", "q8_0", Console()).read_bytes() == b"gguf"
    assert "exporting it again" in capsys.readouterr().out
    (run / "merged" / "model.safetensors").write_bytes(b"other")
    assert not gguf.of_this_run(run, path)


def test_a_program_that_failed_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(words: list[str], *_: Any) -> None:
        Path(words[-1]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(gguf, "_run", full)
    with pytest.raises(OSError):
        gguf.convert(run, run / "merged", "q8_0", Console())
    assert not [path for path in (run / "export" / "gguf").iterdir() if path.suffix != ".lock"]
