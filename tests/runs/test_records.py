"""The JSON files of a run folder: old ones open, unknown keys stay, other versions are refused clearly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.runs.run import Run

SETTINGS: dict[str, Any] = {
    "recipe": "a",
    "tier": "trial",
    "seed": 42,
    "base_model": "base",
    "hardware": "cpu",
    "world": 1,
    "dataset": {"name": "some", "task": "chat", "labels": []},
    "suite": {"primary": "loss"},
}


def test_what_is_written_is_read_and_unknown_keys_stay(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(run / "settings.json", SETTINGS | {"new": 1})
    write_json(run / "state.json", {"stages": {}, "later": [1]})
    assert run.settings() == SETTINGS | {"new": 1}
    run.mark("train", "done", 2.0)
    assert read_json(run / "state.json") == {
        "stages": {"train": {"seconds": 2.0, "status": "done"}},
        "later": [1],
    }


def test_a_benchmark_has_a_placement_only(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(run / "settings.json", {"world": 2, "base_model": "base"})
    assert run.placement()["world"] == 2
    with pytest.raises(InputError) as caught:
        run.settings()
    assert caught.value.codes == ["run.other_version"]
    assert {problem.key for problem in caught.value.problems} == set(SETTINGS) - {"world", "base_model"}


def test_a_value_of_another_type_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "train" / "history.json", {"steps": "many", "trained_tokens": 1, "log": []})
    with pytest.raises(InputError) as caught:
        Run(tmp_path).history()
    assert (caught.value.code, caught.value.problems[0].key) == ("run.other_version", "steps")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("settings.json", Run.settings),
        ("train/history.json", Run.history),
        ("eval/choice.json", Run.choice),
        ("config.yaml", Run.config),
    ],
)
def test_missing_and_damaged_files(tmp_path: Path, name: str, read: Callable[[Run], Any]) -> None:
    with pytest.raises(InputError) as caught:
        read(Run(tmp_path))
    assert caught.value.code == "run.no_file"
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{half")
    with pytest.raises(InputError) as caught:
        read(Run(tmp_path))
    assert caught.value.code == "run.damaged_file"
    assert caught.value.problems[0].file == str(path)
