"""`tunebook exercise`: each check finds its result in published numbers, and nothing where there is none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import in_process
from tunebook.commands.exercise.exercises import EXERCISES
from tunebook.core.paths import ROOT


def published(recipe: str) -> dict[str, Any]:
    path = sorted((ROOT / "recipes" / recipe / "results").glob("trial-*-seed42.json"))[-1]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def with_gate(run: dict[str, Any], passed: bool) -> dict[str, Any]:
    gate = {"name": "retention_general", "value": 0.9, "bound": 0.25, "passed": passed}
    line = {"task": "instructions", "tuned": 0.8}
    return run | {"gates": [gate], "retention": [line] * 6}


def done() -> dict[int, list[Any]]:
    """Return for each exercise runs that show its result."""
    lora, head, qa, chat = map(published, ("classify-lora", "classify-head", "qa-lora", "chat-lora"))
    other = copy.deepcopy(lora)
    other["contenders"]["tuned"]["accuracy"]["value"] = 0.5
    stops = {"sessions": 2, "stopped": 1, "killed": 0, "steps_repeated": 0}
    file = {"artefact": "gguf-q8_0", "passed": True, "metric": "accuracy", "run": 0.8, "value": 0.79}
    return {
        1: [lora],
        2: [head],
        3: [lora, other],
        4: [lora | {"seed": seed} for seed in (1, 2, 3)],
        5: [with_gate(lora, False)],
        6: [with_gate(lora, True)],
        7: [qa],
        8: [with_gate(chat, True)],
        9: [lora | {"interruptions": stops}],
        10: [lora | {"exports": [file]}],
    }


@pytest.mark.parametrize("number", range(1, 11))
def test_a_check_finds_its_result_and_no_other(number: int) -> None:
    check = EXERCISES[number - 1].check
    assert check(done()[number])
    assert check([]) is None
    if number in (3, 4, 5, 9, 10):  # one plain run does not show it
        assert check([published("classify-lora") | {"interruptions": None, "exports": None}]) is None
    if number == 6:
        assert check([with_gate(published("classify-lora"), False)]) is None


def test_without_runs_nothing_is_done(tmp_path: Path) -> None:
    ended = in_process("exercise", "1", TUNEBOOK_RUNS=str(tmp_path))
    assert ended.returncode == 3
    assert EXERCISES[0].command in ended.stdout
    listed = in_process("exercise", TUNEBOOK_RUNS=str(tmp_path))
    assert listed.returncode == 0
    assert listed.stdout.count("not yet") == len(EXERCISES) == 10
    assert in_process("exercise", "11", TUNEBOOK_RUNS=str(tmp_path)).returncode == 2
