"""The script in plain Transformers and PEFT: how its score is compared, and that it reaches the recipe's."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plain_peft
from tunebook.core.files import read_json


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, accuracy: float, rows: int) -> None:
    """Put a script in the place of the real one that prints the given score, and leave out data and model."""
    script = folder / "script.py"
    script.write_text(f"import json\nprint(json.dumps({{'accuracy': {accuracy}, 'rows': {rows}}}))\n")
    monkeypatch.setattr(plain_peft, "SCRIPT", script)
    monkeypatch.setattr(plain_peft.cli, "run", lambda words: 0)
    monkeypatch.setattr(plain_peft.trial_model, "ensure", lambda: folder)


@pytest.mark.parametrize("above, code", [(0.0, 0), (-0.001, 3)])
def test_the_score_must_lie_above_the_lower_end(
    above: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recipe = plain_peft.published()
    stand_in(monkeypatch, tmp_path, recipe["low"] + above, recipe["n"])
    assert plain_peft.main(["--to", str(tmp_path / "result.json")]) == code
    written = read_json(tmp_path / "result.json")
    assert written["plain"]["accuracy"] == recipe["low"] + above
    assert written["recipe"]["accuracy"] == recipe["value"]


def test_other_rows_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, recipe = plain_peft.published()
    stand_in(monkeypatch, tmp_path, 1.0, recipe["n"] - 1)
    with pytest.raises(RuntimeError, match="rows"):
        plain_peft.main(["--to", str(tmp_path / "result.json")])
    assert not (tmp_path / "result.json").exists()


@pytest.mark.long
def test_plain_transformers_and_peft_reach_the_score_of_the_recipe(tmp_path: Path) -> None:
    assert plain_peft.main(["--to", str(tmp_path / "result.json")]) == 0
