"""`tunebook verify`: hand-made runs beside hand-made published results."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import make_run
from tunebook.commands import verify
from tunebook.commands.verify import bounds, judge
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.hardware import machine
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

VERSIONS = {"torch": "1.2.3", "axolotl": "0.0.1"}
TRIAL = Options("trial", "cpu")


def measure(value: float | None, reach: float | None = None) -> dict[str, Any]:
    """Return a metric as metrics.json has it, with an interval of `reach` on both sides."""
    if value is None or reach is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": value - reach, "high": value + reach}


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that `verify` gets in place of a training; a recipe of which nothing is published yet."""
    run = make_run(tmp_path / "run")
    compare(run)
    write_json(run / "manifest.json", {**read_json(run / "manifest.json"), "versions": VERSIONS})
    run.mark("report", "done")
    asked: list[Options] = []

    def execute(name: str, options: Options, console: Console) -> Run:
        asked.append(options)
        assert options.new, "a finished run is no fresh one"
        return run

    shutil.copytree(ROOT / "recipes" / "chat-lora", tmp_path / "recipes" / "chat-lora")
    shutil.rmtree(tmp_path / "recipes" / "chat-lora" / "results")
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(machine, "gpus", lambda: [])
    monkeypatch.setattr(verify, "execute", execute)
    return run


@pytest.fixture
def publish(fresh: Run, tmp_path: Path) -> Callable[..., None]:
    """Publish the fresh run's own numbers as those of a seed, moved by `shift` in the tuned accuracy."""

    def add(seed: int, shift: float = 0.0, **changes: Any) -> None:
        item = copy.deepcopy(read_json(fresh / "metrics.json"))
        accuracy = item["contenders"]["tuned"]["accuracy"]
        for key in ("value", "low", "high"):
            accuracy[key] += shift
        item |= {"seed": seed, "run": {"versions": VERSIONS, "started": "2026-01-01T00:00:00Z"}, **changes}
        folder = tmp_path / "recipes" / "chat-lora" / "results"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{item['tier']}-{seed}.json", item)

    return add


def test_the_same_numbers_are_reproduced(
    publish: Callable[..., None], fresh: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2, 42):
        publish(seed)
    assert verify.verify("chat-lora", TRIAL, Console()) == 0
    said = capsys.readouterr().out
    assert "this run and the published seeds 1, 2, 42 (trial tier)" in said
    found = read_json(fresh / "verify.json")
    assert found["seeds"] == [1, 2, 42]
    assert {line["result"] for line in found["metrics"]} == {"inside"}
    tuned = read_json(fresh / "metrics.json")["contenders"]["tuned"]
    measured = {name for name, one in tuned.items() if one["value"] is not None}
    assert {line["metric"] for line in found["metrics"] if line["contender"] == "tuned"} == measured
    others = [line for line in found["metrics"] if line["contender"] != "tuned"]
    assert others and {line["metric"] for line in others} == {"accuracy"}
    assert f"reproduced (trial tier): all {len(found['metrics'])} metrics" in said
    assert "published with" not in said


@pytest.mark.parametrize(("shift", "result"), [(-0.5, "above"), (0.5, "below")])
def test_a_metric_outside_is_exit_3_and_named(
    shift: float, result: str, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        publish(seed, shift)
    assert verify.verify("chat-lora", TRIAL, Console()) == 3
    said = capsys.readouterr().out
    assert "NOT reproduced (trial tier): 1 of " in said
    assert f"metrics: tuned accuracy {result}" in said


def test_other_versions_are_said(publish: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    publish(42, run={"versions": {**VERSIONS, "torch": "1.0"}, "started": "2026-01-01T00:00:00Z"})
    verify.verify("chat-lora", TRIAL, Console())
    said = capsys.readouterr().out
    assert "torch: published with 1.0, here 1.2.3" in said and "axolotl: published" not in said


def test_nothing_published_is_refused_before_anything_runs(
    fresh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "execute", lambda *_: pytest.fail("ran"))
    with pytest.raises(
        InputError, match=r"nothing is published for the trial tier on CPU.*\(published: nothing"
    ):
        verify.verify("chat-lora", TRIAL, Console())


def test_another_tier_or_machine_is_no_comparison(
    publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(42)
    publish(1, tier="real", hardware={"gpus": [{"name": "NVIDIA H100"}]})
    monkeypatch.setattr(verify, "execute", lambda *_: pytest.fail("ran"))
    monkeypatch.setattr(machine, "gpus", lambda: [{"name": "NVIDIA H200"}] * 2)
    with pytest.raises(InputError) as caught:
        verify.verify("chat-lora", Options("real"), Console())
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert "nothing is published for the real tier on 2 x NVIDIA H200" in said
    assert "published: real tier on 1 x NVIDIA H100, trial tier on CPU" in said
    assert "make results RUN=chat-lora/latest" in said


def test_other_test_rows_are_no_comparison(publish: Callable[..., None]) -> None:
    publish(42, rows_sha256="of other rows")
    with pytest.raises(InputError, match="recipe or its data changed.*rows_sha256 of other rows, here "):
        verify.verify("chat-lora", TRIAL, Console())


def test_results_judged_by_other_answers_are_no_comparison(publish: Callable[..., None]) -> None:
    counts = {"scored": 9, "repeated": 0, "conversations": 3, "generated": 3, "generated_last": 1}
    publish(42, turns={"evaluated": "all", **counts})
    with pytest.raises(InputError) as caught:
        verify.verify("chat-lora", TRIAL, Console())
    assert caught.value.code == "report.other_rows" and "answers judged: all" in str(caught.value)


def test_of_several_published_those_of_the_same_rows_count(publish: Callable[..., None], fresh: Run) -> None:
    publish(1, 0.5, rows_sha256="of other rows")
    publish(42)
    assert verify.verify("chat-lora", TRIAL, Console()) == 0
    assert read_json(fresh / "verify.json")["seeds"] == [42]


def test_an_unknown_recipe(fresh: Run) -> None:
    with pytest.raises(InputError, match="Did you mean chat-lora"):
        verify.verify("chat-lor", TRIAL, Console())


# Bounds


def test_one_seed_has_its_own_interval() -> None:
    assert bounds([measure(0.8, 0.05)], measure(0.1, 0.5)) == pytest.approx((0.75, 0.85))
    assert bounds([measure(0.8)], measure(0.8, 0.1)) == (None, None)


def test_seeds_that_differ_more_than_rows_give_a_prediction_interval() -> None:
    # t(2, 97.5 %) = 4.303, standard deviation 0.1, and one more of three: sqrt(4/3).
    low, high = bounds([measure(value, 0.01) for value in (0.7, 0.8, 0.9)], measure(0.5, 0.01))
    assert (low, high) == pytest.approx(
        (0.8 - 4.303 * 0.1 * (4 / 3) ** 0.5, 0.8 + 4.303 * 0.1 * (4 / 3) ** 0.5), abs=1e-3
    )


def test_seeds_that_agree_are_widened_by_the_runs_interval() -> None:
    told = [measure(0.8, 0.02)] * 3
    assert bounds(told, {"value": 0.7, "low": 0.6, "high": 0.75}) == pytest.approx((0.75, 0.9))
    assert bounds(told, measure(0.8)) == pytest.approx((0.8, 0.8))


def item(**tuned: Any) -> dict[str, Any]:
    return {"primary": "accuracy", "contenders": {"tuned": tuned, "svm": {"accuracy": measure(0.6, 0.1)}}}


@pytest.mark.parametrize(
    ("told", "run", "result"),
    [
        (measure(0.8, 0.1), measure(0.8, 0.1), "inside"),
        (measure(0.8, 0.1), measure(0.6, 0.1), "below"),
        (measure(0.8, 0.1), measure(0.95, 0.1), "above"),
        (measure(0.8, 0.1), measure(None), "not measured"),
        (measure(0.8), measure(0.2, 0.1), "not judged"),
    ],
)
def test_every_result_has_its_word(told: dict[str, Any], run: dict[str, Any], result: str) -> None:
    lines = judge(item(accuracy=run), [item(accuracy=told)])
    assert [(line["contender"], line["result"]) for line in lines] == [("tuned", result), ("svm", "inside")]


def test_what_a_seed_has_not_published_is_left_out() -> None:
    items = [item(accuracy=measure(0.8, 0.1), f1=measure(0.5, 0.1)), item(accuracy=measure(0.8, 0.1))]
    items[0]["contenders"]["base_rank_k"] = {"accuracy": measure(0.4, 0.1)}
    lines = judge(item(accuracy=measure(0.8, 0.1), f1=measure(0.1, 0.1)), items)
    assert [(line["contender"], line["metric"]) for line in lines] == [
        ("tuned", "accuracy"),
        ("svm", "accuracy"),
    ]
    single = judge(item(accuracy=measure(0.8, 0.1), f1=measure(0.5, 0.1)), items[:1])
    assert [line["contender"] for line in single] == ["tuned", "tuned", "svm"], "another baseline is no fault"


def test_bounds_of_a_share_end_where_shares_do() -> None:
    (line, *_) = judge(item(stop_rate=measure(1.0, 0.05)), [item(stop_rate=measure(1.0, 0.05))] * 3)
    assert (line["low"], line["high"]) == (pytest.approx(0.95), 1.0)
    (line, *_) = judge(item(loss=measure(1.2, 0.05)), [item(loss=measure(1.2, 0.05))] * 3)
    assert line["high"] == pytest.approx(1.25)
