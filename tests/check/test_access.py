"""Licences, disk and tokens in `make check`; no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_data import dataset
from tunebook.check import access
from tunebook.check.findings import Findings
from tunebook.config import recipe
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.errors import MachineError


@pytest.mark.parametrize(
    ("base", "data", "codes"),
    [
        ("Apache-2.0", "CC-BY-4.0", []),
        ("MIT", "CC-BY-SA-4.0", ["note share_alike"]),
        ("Apache-2.0", "CC-BY-NC-4.0", ["warning non_commercial"]),
        ("Apache-2.0", "cc-by-nc-sa-4.0", ["warning non_commercial"]),
        ("Apache-2.0", "CC-BY-ND-4.0", ["warning no_derivatives"]),
        ("llama3.2", "Apache-2.0", ["note licence_conditions"]),
        ("gemma", "CC-BY-NC-3.0", ["note licence_conditions", "warning non_commercial"]),
        ("other", "unknown", ["warning unknown_licence"] * 2),
        (None, "Apache-2.0", []),
    ],
)
def test_licences_that_forbid_or_ask_for_something(base: str | None, data: str, codes: list[str]) -> None:
    found = access.licence_findings(base, data, "recipe.yaml")
    assert [f"{finding.grade} {finding.code.removeprefix('access.')}" for finding in found] == codes


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(base: str, revision: str | None) -> None:
        raise MachineError(f"base_model: the Hub cannot be reached for {base}")

    monkeypatch.setattr(access, "reach_hub", unreachable)
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))


def real(name: str, overrides: str = "") -> Resolved:
    return resolve(recipe.load_recipe(name), Options("real", set=overrides), for_this_machine=False)


def test_offline_what_needs_the_hub_is_marked_and_never_guessed(offline: None, tmp_path: Path) -> None:
    found = Findings()
    said = access.check_access(real("classify-lora"), dataset(tmp_path), found)
    assert found.not_checked["base model: existence, access, size"] == "offline"
    assert not found.kinds
    assert "licences: base Apache-2.0, data Apache-2.0" in said


def test_disk_counts_checkpoints_of_full_tuning(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, needed = dataset(tmp_path), {}
    for name in ("classify-lora", "classify-full"):
        found = Findings()
        access.check_access(real(name, "base_model=Qwen/Qwen3-0.6B"), data, found)
        needed[name] = found.facts["disk"]["needed_gb"]
    assert needed == {"classify-lora": 1.8, "classify-full": 22.6}  # 2 bytes; 12 more a checkpoint
    monkeypatch.setattr(access.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10**9}))
    found = Findings()
    access.check_access(real("classify-lora"), data, found)
    assert found.kinds[("warning", "disk")].shown[0].code == "access.disk_too_small"


def test_a_token_is_named_and_never_printed(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    found = Findings()
    access.check_access(real("classify-lora", "wandb_project=x"), dataset(tmp_path), found)
    assert "HF_TOKEN" in found.facts["tokens set"]
    assert "hf_secret" not in str(found.as_json())
    assert [finding.code for finding in found.kinds[("note", "access")].shown] == ["tracker.no_login"]
