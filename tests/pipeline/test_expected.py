"""The time of a published run is shown with its machine and day, and only on a machine of the same kind."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.hardware import machine
from tunebook.pipeline import recipe as pipeline
from tunebook.plan import trial

CPU = {"cpu": "AMD EPYC", "cores": 2, "memory_gib": 24.0, "gpus": [], "python": "3.11"}


def expected(monkeypatch: pytest.MonkeyPatch, here: dict[str, Any], options: Options) -> str | None:
    """Return the sentence on the machine `here`, with one published run of ten minutes on CPU."""
    run = {"started": "2026-11-30T02:51:37Z"}
    item = {"tier": "trial", "hardware": CPU, "seconds": {"train": 400.0, "evaluate": 200.0}, "run": run}
    monkeypatch.setattr(pipeline, "published", lambda folder: [item])
    monkeypatch.setattr(machine, "facts", lambda: here)
    monkeypatch.setattr(machine, "gpus", lambda: here["gpus"])
    monkeypatch.setattr(trial, "run_minutes", lambda rows, config: 14.2)
    return pipeline._expected(resolve(load_recipe("classify-lora"), Options("trial", "cpu")), options, {})


@pytest.mark.parametrize("here", [CPU, CPU | {"cpu": "Another CPU"}, CPU | {"cores": 8}])
def test_a_published_time_is_shown_with_its_machine_and_day(
    monkeypatch: pytest.MonkeyPatch, here: dict[str, Any]
) -> None:
    found = expected(monkeypatch, here, Options("trial", "cpu"))
    if here == CPU:
        assert found == "about 10 minutes, like the published run of 2026-11-30 on AMD EPYC, 2 cores"
    else:
        assert str(found).startswith("about 14 minutes if nothing else runs on this machine, estimated")


def test_of_a_changed_run_no_published_time_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(expected(monkeypatch, CPU, Options("trial", "cpu", set="lora_r=8"))).startswith(
        "about 14 minutes"
    )


def test_a_machine_with_gpus_is_named_after_them() -> None:
    assert machine.full_name(CPU | {"gpus": [{"name": "NVIDIA H200"}] * 2}) == "2 x NVIDIA H200"
