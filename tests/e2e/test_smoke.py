"""The smoke test with the real Axolotl: two processes that pass, and a save that fails.

That a run after it is the run without it: tests/e2e/test_recipe.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_ranks import prepare
from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.core.files import read_json, read_jsonl
from tunebook.pipeline import smoke
from tunebook.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("root_on_path")]


class Setting:
    """What `smoke` wants to know of a resolved config."""

    def __init__(self, world: int) -> None:
        self.tier, self.config, self.world = "trial", {"world": world}, world


@pytest.mark.long
def test_two_processes_train_save_reload_and_answer(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepare(tmp_path, base, "classify-lora", 2, rows=100)
    seen: dict[str, Any] = {}
    broken = smoke._broken

    def look(nested: Run) -> Any:
        seen["train"] = read_jsonl(nested / "data" / "train.jsonl")
        seen["answers"] = read_jsonl(nested / "eval" / "answers" / "tuned.dev.jsonl")
        seen["log"] = read_json(nested / "train" / "history.json")["log"]
        return broken(nested)

    monkeypatch.setattr(smoke, "_broken", look)
    smoke.smoke(run, Setting(2), Console())  # type: ignore[arg-type]
    steps = [entry["step"] for entry in seen["log"] if "loss" in entry]
    assert steps == [1, 2, 3, 4, 5]
    looks = [entry["step"] for entry in seen["log"] if "eval_loss" in entry]
    assert smoke.LOOK in looks, "Axolotl adds one before the first step and one after the last"

    def length(row: dict[str, Any]) -> int:
        return sum(len(message["content"]) for message in row["messages"])

    every = sorted(map(length, read_jsonl(run / "data" / "train.jsonl")), reverse=True)
    taken = {row["id"].rpartition("-")[0]: length(row) for row in seen["train"]}
    assert sorted(taken.values(), reverse=True) == every[: 5 * 8]
    assert len(seen["answers"]) == 8
    assert "saved, reloaded, 8 rows answered" in capsys.readouterr().out
    assert not (run / "smoke").exists() and not (run / "train").exists() and not (run / "model").exists()
    assert run.done("smoke") and not run.done("train")


def test_a_save_that_fails_is_named_and_nothing_is_left(base: Path, tmp_path: Path) -> None:
    run = prepare(tmp_path, base, "classify-lora", 1)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        text.replace("tests.support.cpu_ranks.CPURanks", "tests.support.broken.FullDisk")
    )
    with pytest.raises(MachineError, match="^smoke: save failed: OSError: No space left on device\n"):
        smoke.smoke(run, Setting(1), Console())  # type: ignore[arg-type]
    assert not (run / "smoke").exists() and not run.done("smoke")
