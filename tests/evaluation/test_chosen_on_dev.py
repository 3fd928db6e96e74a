"""The best kept checkpoint on dev ships; the models are stood in for by fixed scores."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.lazy import lazy
from tunebook.core.files import read_json
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.jobs import ALONE
from tunebook.evaluation.suite import Suite
from tunebook.runs.checkpoints import ENCODER
from tunebook.runs.run import Run

chosen_on_dev = lazy("tunebook.evaluation.chosen_on_dev")
evaluator = lazy("tunebook.evaluation.evaluator")


def evaluation(run: Run, scores: dict[str, float], primary: str, kept: str = "best") -> Any:
    """Stand in for an Evaluator whose checkpoint `name` has the value `scores[name]` on every dev row."""
    sizes = {"shots": 0, "max_new_tokens": 1, "dev_rows": 1, "agreement_rows": 0, "generate_rows": None}
    suite = Suite.model_validate({"primary": primary, "checkpoints": kept, **sizes})
    asked: list[str] = []

    def answers(contender: Contender, split: str, rows: list[Any]) -> list[dict[str, Any]]:
        assert split == "dev", "never on test"
        asked.append(contender.model)
        return [{"f1": scores[contender.model], "loss": scores[contender.model]} for _ in rows]

    stand_in = SimpleNamespace(
        run=run,
        suite=suite,
        here=ALONE,
        inputs=SimpleNamespace(chat=primary == "loss"),
        rows={"dev": [{}, {}]},
        losses=answers,
        answers=answers,
        models=SimpleNamespace(add_checkpoint=lambda path: path.name),
        asked=asked,
    )
    stand_in.primary = partial(evaluator.Evaluator.primary, stand_in)
    return stand_in


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def fault(path: Path) -> str | None:
        return None if (path / "whole").is_file() else "broken"

    monkeypatch.setattr("tunebook.evaluation.chosen_on_dev.fault", fault)
    (tmp_path / "eval").mkdir()
    for step in (10, 20, 30):
        folder = tmp_path / "train" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "whole").touch()
        (folder / ENCODER).touch()
        (folder / "adapter_config.json").write_text(json.dumps({"step": step}))
    return Run(tmp_path)


def shipped(run: Run) -> int:
    return read_json(run / "model" / "adapter_config.json")["step"]


@pytest.mark.parametrize(
    ("primary", "values", "best"),
    [
        ("f1", [0.5, 0.8, 0.7], 20),
        ("f1", [0.8, 0.8, 0.7], 20),  # of equals, the later
        ("loss", [0.5, 0.8, 0.7], 10),
        ("loss", [0.9, 0.8, 0.7], 30),
    ],
)
def test_the_best_on_dev_ships(run: Run, primary: str, values: list[float], best: int) -> None:
    scores = dict(zip(("checkpoint-10", "checkpoint-20", "checkpoint-30"), values, strict=True))
    found = chosen_on_dev.ship_the_best(evaluation(run, scores, primary))
    assert found == {
        "metric": primary,
        "dev": {10: values[0], 20: values[1], 30: values[2]},
        "shipped": best,
        "last": 30,
    }
    assert shipped(run) == best
    assert not (run / "model" / ENCODER).exists()  # of use for going on only
    assert read_json(run / "eval" / "checkpoints.json")["shipped"] == best


def test_a_broken_checkpoint_takes_no_part(run: Run) -> None:
    (run / "train" / "checkpoint-10" / "whole").unlink()
    scores = {"checkpoint-20": 0.5, "checkpoint-30": 0.6}
    asked = evaluation(run, scores, "f1")
    assert chosen_on_dev.ship_the_best(asked) and asked.asked == ["checkpoint-20", "checkpoint-30"]


def test_one_checkpoint_or_last_asks_nobody(run: Run) -> None:
    last = evaluation(run, {}, "f1", kept="last")
    assert chosen_on_dev.ship_the_best(last) is None and not last.asked
    for step in (10, 20):
        (run / "train" / f"checkpoint-{step}" / "whole").unlink()
    assert chosen_on_dev.ship_the_best(evaluation(run, {}, "f1")) is None
