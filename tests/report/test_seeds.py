"""What several seeds of one recipe say together."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from tests.support.helpers import make_run
from tunebook.core.errors import InputError
from tunebook.core.files import read_json
from tunebook.report.seeds import across_seeds
from tunebook.report.verdict import compare


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics.json of a hand-made run; not to be changed."""
    folder: Path = tmp_path_factory.mktemp("seeds")
    run = make_run(folder)
    compare(run)
    return read_json(run / "metrics.json")


def seed(measured: dict[str, Any], number: int, accuracy: float, verdict: str = "better") -> dict[str, Any]:
    tuned = dict(measured["contenders"]["tuned"])
    tuned["accuracy"] = {**tuned["accuracy"], "value": accuracy}
    contenders = {**measured["contenders"], "tuned": tuned}
    return {**measured, "seed": number, "contenders": contenders, "verdict": verdict}


def test_mean_spread_and_range(measured: dict[str, Any]) -> None:
    found = across_seeds([seed(measured, n, v) for n, v in ((1, 0.8), (2, 0.9), (42, 0.85))])
    spread = found["contenders"]["tuned"]["accuracy"]
    assert spread["mean"] == pytest.approx(0.85)
    assert spread["sd"] == pytest.approx(stdev([0.8, 0.9, 0.85]))
    assert (spread["low"], spread["high"], spread["runs"]) == (0.8, 0.9, 3)
    assert found["contenders"]["svm"]["accuracy"]["sd"] == 0
    assert found["seeds"] == [1, 2, 42]
    assert found["agree"] is True
    assert "all 3 seeds: better" in found["sentence"]
    assert "0.850 on average" in found["sentence"]
    assert "0.050" in found["sentence"]


def test_what_a_run_did_not_measure_is_left_out(measured: dict[str, Any]) -> None:
    found = across_seeds([seed(measured, 1, 0.8), seed(measured, 2, 0.8)])
    assert "invalid_rate" in found["contenders"]["tuned"]
    assert "invalid_rate" not in found["contenders"]["svm"]
    other = seed(measured, 2, 0.8)
    other["contenders"] = {k: v for k, v in other["contenders"].items() if k != "svm"}
    assert "svm" not in across_seeds([seed(measured, 1, 0.8), other])["contenders"]


def test_seeds_that_disagree(measured: dict[str, Any]) -> None:
    found = across_seeds([seed(measured, 1, 0.8), seed(measured, 2, 0.4, "no difference shown")])
    assert found["agree"] is False
    assert "the seeds disagree: seed 1 better, seed 2 no difference shown" in found["sentence"]


def test_runs_that_are_not_seeds_of_one_another(measured: dict[str, Any]) -> None:
    first = seed(measured, 1, 0.8)
    with pytest.raises(InputError, match="at least two seeds"):
        across_seeds([first])
    with pytest.raises(InputError, match="occurs twice"):
        across_seeds([first, first])
    other = {**seed(measured, 2, 0.8), "recipe": "another", "rows_sha256": "0"}
    with pytest.raises(InputError) as caught:
        across_seeds([first, other])
    assert "recipe: differs between the runs (got handmade-lora, another)" in str(caught.value)
    assert "rows_sha256: differs" in str(caught.value), "all problems at once"
