"""Sweeps: what is asked for, which point is best, and what the table says; no model is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import tunebook
from tunebook.commands import sweep
from tunebook.config.overrides import Options, parse_rows
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.runs.run import Run


def test_over_is_read_in_its_order() -> None:
    found = sweep.parse_over("learning_rate=1e-4,2e-4 lora_r=8,8,32")
    assert found == {"learning_rate": ["1e-4", "2e-4"], "lora_r": ["8", "32"]}
    assert sweep.parse_over("rows=50,all") == {"rows": ["50", "all"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is missing"),
        ("learning_rate", "expected key=value,value"),
        ("learning_rate=", "expected key=value,value"),
        ("=1,2", "expected key=value,value"),
        ("lora_r=8 lora_r=16", "lora_r occurs twice"),
        ("rows=50,most", "got 'most'"),
    ],
)
def test_a_bad_over_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep.parse_over(text)


def test_an_unknown_key_is_refused_before_anything_runs(tmp_path: Path) -> None:
    words = ["sweep", "classify-lora", "--tier", "trial", "--hardware", "cpu", "--over", "learning_ratee=1,2"]
    result = tunebook(*words, TUNEBOOK_RUNS=str(tmp_path))
    assert result.returncode == 2
    assert "Did you mean learning_rate" in result.stderr


@pytest.fixture
def runner(handmade: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Options]:
    """Make `execute` hand out hand-made runs whose dev accuracy is what the options' rank says."""
    asked: list[Options] = []
    accuracy = {"8": 0.5, "16": 0.9, "32": 0.7}

    def execute(name: str, options: Options, console: Console) -> Run:
        asked.append(options)
        run = Run(tmp_path / f"run{len(asked)}")
        (tmp_path / "run").rename(run.folder) if (tmp_path / "run").exists() else None
        made = handmade()
        made.folder.rename(run.folder)
        measured = read_json(run / "metrics.json")
        rank = options.set.partition("lora_r=")[2].partition(" ")[0]
        rows = parse_rows(options.rows).get("train", 300)
        value = accuracy.get(rank, 0.4 + rows / 1000)
        tuned = measured["contenders"]["tuned"]["accuracy"]
        tuned |= {"value": value, "low": value - 0.05, "high": value + 0.05}
        measured["train_rows"] = rows
        write_json(run / "metrics.json", measured)
        return run

    monkeypatch.setattr(sweep, "execute", execute)
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    return asked


def result(tmp_path: Path) -> dict[str, Any]:
    (path,) = (tmp_path / "runs" / "classify-lora" / "sweeps").glob("*/sweep.json")
    return read_json(path)


def test_the_best_on_dev_is_named(runner: list[Options], tmp_path: Path) -> None:
    options = Options(tier="trial", set="num_epochs=1", from_run="classify-lora/earlier")
    assert sweep.sweep("classify-lora", "lora_r=8,16,32", options, False, Console()) == 0
    assert [asked.eval for asked in runner] == ["quick"] * 3, "test rows are never asked"
    assert {asked.from_run for asked in runner} == {"classify-lora/earlier"}
    assert [asked.set for asked in runner] == [f"num_epochs=1 lora_r={r}" for r in (8, 16, 32)]
    found = result(tmp_path)
    assert found["finished"] and found["best"] == 1
    assert found["sentence"].startswith("lora_r=16: accuracy 90.0 % on dev (trial tier")
    assert "edge" not in found["sentence"]
    page = next((tmp_path / "runs").rglob("sweep.html")).read_text()
    assert "<svg" in page and "<script" not in page
    lines = next((tmp_path / "runs").rglob("sweep.md")).read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")] == [
        "lora_r",
        "8",
        "16",
        "32",
    ]


def test_a_best_value_at_the_edge_is_said(runner: list[Options], tmp_path: Path) -> None:
    sweep.sweep("classify-lora", "lora_r=8,32,16", Options(tier="trial"), False, Console())
    assert "lora_r=16 is at the edge" in result(tmp_path)["sentence"]


def test_a_learning_curve_says_whether_it_rises(runner: list[Options], tmp_path: Path) -> None:
    sweep.sweep("classify-lora", "rows=50,100,all", Options(tier="trial"), False, Console())
    assert [asked.rows for asked in runner] == ["train=50", "train=100", ""]
    found = result(tmp_path)
    assert "From 100 to 300 train rows the score still rises" in found["sentence"]
    assert [point["train_rows"] for point in found["points"]] == [50, 100, 300]
