"""Folders of a cache whose files are not what was written are noticed and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.small_data import dataset
from tunebook.core.console import Console
from tunebook.core.files import SEAL, damage, seal, whole_safetensors
from tunebook.core.process import write_folder
from tunebook.data import cache
from tunebook.models import llama_cpp, random_model, trial_model

WRONG: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "missing": lambda path: path.unlink(),
}


def weights(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.zeros(64, dtype=np.float32)}, path)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_not_as_it_was_is_named(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("tool")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    seal(tmp_path)
    assert damage(tmp_path) is None
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled anew")
    (tmp_path / "more").write_text("")
    assert damage(tmp_path) is None, "what others add or compile is theirs"
    WRONG[wrong](tmp_path / "bin" / "tool")
    assert "bin/tool" in str(damage(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"bytes": 1}'])
def test_a_list_that_cannot_be_read_is_damage_as_well(text: str, tmp_path: Path) -> None:
    (tmp_path / SEAL).write_text(text)
    assert SEAL in str(damage(tmp_path))


@pytest.mark.parametrize("wrong", ["cut off", "empty", "longer"])
def test_the_length_of_weights_is_in_their_header(wrong: str, tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors")
    assert whole_safetensors(tmp_path / "model.safetensors")
    WRONG[wrong](tmp_path / "model.safetensors")
    assert not whole_safetensors(tmp_path / "model.safetensors")


def test_a_folder_that_is_written_by_a_child_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "writer.py").write_text(
        "import pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\nfolder.mkdir()\n"
        "(folder / 'a').write_text('b')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    write_folder("writer", [], tmp_path / "made", sealed=True)
    assert damage(tmp_path / "made") is None
    (tmp_path / "made" / "a").write_text("")
    assert damage(tmp_path / "made") == "a has 0 of 1 bytes"


@pytest.fixture
def writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What each maker of models wrote, in place of minutes of conversion."""
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    made: list[Path] = []

    def write(module: str, words: list[str], target: Path, *rest: Any, sealed: bool = False) -> None:
        made.append(target)
        weights(target / "model.safetensors")
        for name in ("config.json", "tokenizer.json", "tunebook.json"):
            (target / name).write_text(json.dumps({"cpu": {}}))
        if sealed:
            seal(target)

    for module in (trial_model, random_model, llama_cpp):
        monkeypatch.setattr(module, "write_folder", write)
    monkeypatch.setattr(trial_model, "_install_wheel", lambda target: target)
    monkeypatch.setattr(random_model.trial_model, "ensure", lambda: tmp_path)
    monkeypatch.setattr(llama_cpp.shutil, "which", lambda name: name)
    return made


MAKERS: dict[str, Callable[[], Path]] = {
    "trial base": lambda: trial_model_ensure(),
    "random base": lambda: random_model.ensure("Qwen/Qwen3-0.6B"),
    "llama.cpp": lambda: llama_cpp.ensure(Console()),
}
trial_model_ensure = trial_model.ensure


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_damaged_model_of_the_cache_is_made_again_and_said(
    maker: str, wrong: str, writes: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = MAKERS[maker]()
    assert MAKERS[maker]() == folder and writes == [folder], "a whole one is used as it is"
    WRONG[wrong](folder / "model.safetensors")
    MAKERS[maker]()
    shown = capsys.readouterr()
    said = [line for line in (shown.out + shown.err).splitlines() if "is damaged" in line]
    assert len(said) == 1 and "model.safetensors" in said[0] and " again" in said[0]
    assert writes == [folder, folder] and damage(folder) is None


@pytest.mark.parametrize("wrong", [None, *WRONG])
def test_a_trial_base_of_an_older_version_is_taken_if_it_is_whole(
    wrong: str | None, writes: list[Path]
) -> None:
    folder = trial_model_ensure()
    (folder / SEAL).unlink()
    if wrong:
        WRONG[wrong](folder / "model.safetensors")
    trial_model_ensure()
    assert len(writes) == (2 if wrong else 1) and damage(folder) is None


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl", "came.json", "complete"])
def test_damaged_rows_of_the_cache_are_rendered_again(
    name: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    data, config = dataset(tmp_path), {"base_model": str(tmp_path / "base")}
    first = cache.rendered(data, config)
    rows = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    WRONG[wrong](first.folder / name)
    again = cache.rendered(data, config)
    assert not again.hit and {path.name: path.read_bytes() for path in again.folder.iterdir()} == rows
    assert cache.find(data) is not None and cache.rendered(data, config).hit
    gone = name == "complete" and wrong == "missing"  # then it was never finished
    assert gone or "is damaged" in capsys.readouterr().err
