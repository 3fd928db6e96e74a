"""SEEDS=: one run a seed, and a summary; no model is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helpers import make_run
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.files import read_json, write_json
from tunebook.pipeline import recipe
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int | None]:
    """Make `execute` hand out hand-made runs of the seed that is asked for; seed 44 fails a gate."""
    seeds: list[int | None] = []

    def execute(name: str, options: Options, console: Console) -> Run:
        seeds.append(options.seed)
        run = make_run(tmp_path / f"run{options.seed}", "chat")
        settings = read_json(run / "settings.json")
        write_json(run / "settings.json", {**settings, "seed": options.seed or 42})
        compare(run)
        measured = read_json(run / "metrics.json")
        if options.seed == 44:
            measured["gates"][0] = {**measured["gates"][0], "passed": False, "value": 0.1}
            write_json(run / "metrics.json", measured)
        return run

    monkeypatch.setattr(recipe, "execute", execute)
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs" / "chat-lora").mkdir(parents=True)
    return seeds


def test_every_seed_runs_and_they_are_summed_up(
    asked: list[int | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe.run_recipe("chat-lora", Options(), Console(), seeds=2) == 0
    assert asked == [42, 43], "from the recipe's own seed on"
    found = read_json(tmp_path / "runs" / "chat-lora" / "seeds.json")
    assert found["seeds"] == [42, 43] and found["agree"]
    assert "all 2 seeds: better" in capsys.readouterr().out


def test_one_failed_gate_fails_them_all(asked: list[int | None]) -> None:
    assert recipe.run_recipe("chat-lora", Options(seed=43), Console(), seeds=2) == 3
    assert asked == [43, 44]


def test_one_seed_has_no_summary(asked: list[int | None], tmp_path: Path) -> None:
    assert recipe.run_recipe("chat-lora", Options(), Console()) == 0
    assert asked == [None]
    assert not (tmp_path / "runs" / "chat-lora" / "seeds.json").exists()
