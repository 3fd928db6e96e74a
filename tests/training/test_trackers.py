"""A tracker that is asked for works or is refused; one that only the environment names is mentioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunebook.training import trackers
from tunebook.training.trackers import problems, unheard, wandb

NAMES = [name for tracker in trackers.TRACKERS for name in tracker.variables]


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person without logins; every tracker's package is installed."""
    for name in (*NAMES, *trackers.SWANLAB, "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC", "COMET_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("COMET_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return tmp_path


ASKING: list[tuple[dict[str, Any], dict[str, str], list[tuple[str, str]]]] = [
    ({}, {}, []),
    ({"use_wandb": True}, {}, [("use_wandb", "tracker.no_login")]),
    ({"wandb_project": "x"}, {}, [("wandb_project", "tracker.no_login")]),
    ({"wandb_project": "x"}, {"WANDB_API_KEY": "k"}, []),
    ({"wandb_project": "x"}, {"WANDB_MODE": "offline"}, []),
    ({"wandb_project": "x"}, {"WANDB_MODE": "online"}, [("wandb_project", "tracker.no_login")]),
    ({"wandb_project": "x", "wandb_mode": "offline"}, {}, []),
    ({"wandb_name": "x"}, {}, []),
    ({"use_comet": True}, {}, [("use_comet", "tracker.no_login")]),
    ({"comet_project_name": "x"}, {"COMET_API_KEY": "k"}, []),
    ({"use_comet": True, "comet_mode": "offline"}, {}, []),
    ({"use_mlflow": True}, {}, []),
    ({"use_tensorboard": True, "use_trackio": True}, {}, []),
]


@pytest.mark.parametrize(("config", "variables", "found"), ASKING)
def test_a_login_is_needed_where_the_tracker_needs_one(
    config: dict[str, Any],
    variables: dict[str, str],
    found: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [(problem.key, problem.code) for problem in problems(config)] == found
    assert wandb(config) == bool(config.get("use_wandb") or config.get("wandb_project"))


@pytest.mark.parametrize(
    ("host", "address", "good"),
    [("api.wandb.ai", None, True), ("other", None, False), ("wandb.here", "https://wandb.here", True)],
)
def test_a_login_by_the_netrc_file(
    host: str, address: str | None, good: bool, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nobody / ".netrc").write_text(f"machine {host}\n  login user\n  password secret\n")
    (nobody / ".netrc").chmod(0o600)
    if address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
    assert (problems({"use_wandb": True}) == []) == good


@pytest.mark.parametrize(
    ("switch", "package"),
    [("use_mlflow", "mlflow"), ("use_comet", "comet_ml"), ("use_wandb", "wandb"), ("use_trackio", "trackio")],
)
def test_a_missing_package_is_named(switch: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = problems({switch: True})
    assert (problem.key, problem.code) == (switch, "tracker.not_installed")
    assert f"install {package}" in problem.text


@pytest.mark.parametrize(
    ("config", "variables", "said"),
    [
        ({}, {"WANDB_API_KEY": "k"}, None),  # many have it set for everything
        ({}, {"WANDB_PROJECT": "x"}, "use_wandb=true"),
        ({"use_wandb": True}, {"WANDB_PROJECT": "x"}, None),
        ({}, {"WANDB_MODE": "online"}, "use_wandb=true"),
        ({}, {"WANDB_MODE": "disabled"}, None),
        ({"use_wandb": True}, {"WANDB_MODE": "disabled"}, "nothing is sent"),
        ({}, {"MLFLOW_TRACKING_URI": "http://x"}, "use_mlflow=true"),
        ({}, {"COMET_PROJECT_NAME": "x"}, "use_comet=true"),
        ({}, {"TRACKIO_PROJECT_NAME": "x"}, "use_trackio=true"),
        ({}, {"SWANLAB_PROJECT": "x"}, "SwanLab"),
    ],
)
def test_what_only_the_environment_asks_for_is_mentioned(
    config: dict[str, Any], variables: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = unheard(config)
    assert (found == []) if said is None else (len(found) == 1 and said in found[0])
