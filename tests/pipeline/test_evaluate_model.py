"""`tunebook evaluate`: what is refused before any model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import in_process
from tunebook.core.errors import MachineError
from tunebook.models import trial_model
from tunebook.pipeline import evaluate_model


def refused(tmp_path: Path, *words: str, code: int = 2) -> str:
    result = in_process("evaluate", *words, TUNEBOOK_RUNS=str(tmp_path / "runs"), HF_HUB_OFFLINE="1")
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()
    return result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return path


def test_a_run_or_a_model_is_needed(tmp_path: Path, folder: Path) -> None:
    assert "option.run_or_model" in refused(tmp_path)
    assert "option.run_or_model" in refused(tmp_path, "some/run", "--model", str(folder))
    assert "option.missing_task" in refused(tmp_path, "--model", str(folder))
    for name, value in {"eval": "full", "tier": "trial", "task": "x", "base": "x", "beside": "x"}.items():
        text = refused(tmp_path, "some/run", f"--{name}", value)
        assert "option.not_for_a_run" in text and f"--{name} ({name.upper()}=)" in text
    assert "no run at 'some/run'" in refused(tmp_path, "some/run")


def test_a_model_that_is_not_there(tmp_path: Path, folder: Path) -> None:
    words = ["--task", "kettlewick-intents", "--base", str(folder)]
    assert "neither a folder nor a Hub id" in refused(tmp_path, "--model", str(tmp_path / "none"), *words)
    assert "contains neither adapter_config.json" in refused(tmp_path, "--model", str(tmp_path), *words)
    assert "not in the local cache" in refused(tmp_path, "--model", "owner/name", *words, code=4)


def test_the_base_and_the_dataset_have_to_be_known(tmp_path: Path, folder: Path) -> None:
    assert "BASE=) is missing" in refused(tmp_path, "--model", str(folder), "--task", "kettlewick-intents")
    assert "no such dataset" in refused(
        tmp_path, "--model", str(folder), "--task", "nothing", "--base", "x/y"
    )


def test_the_trial_base_by_its_name_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise MachineError("no Hub", code="hub.unreachable")

    monkeypatch.setattr(evaluate_model, "reach_hub", nobody)
    monkeypatch.setattr(trial_model, "ensure", lambda: tmp_path)
    assert evaluate_model._base_folder(trial_model.NAME, trial=True) == str(tmp_path)
    for name, trial in ((trial_model.NAME, False), ("Qwen/Qwen3-0.6B", True)):
        with pytest.raises(MachineError) as caught:  # at once, and not where the model is loaded
            evaluate_model._base_folder(name, trial)
        assert caught.value.code == "hub.unreachable"
