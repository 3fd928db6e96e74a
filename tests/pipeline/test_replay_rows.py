"""`replay`: how many general conversations a run trains on, and that plain Axolotl's entry is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.replay import GENERAL
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.pipeline.prepare import more_rows, place_paths
from tunebook.pipeline.replay_rows import FILE, drawn_entry, replay_rows
from tunebook.runs.run import Run

WHOLE = len(list(read_jsonl(ROOT / GENERAL)))


ENTRY = {"path": GENERAL, "type": "chat_template", "field_messages": "messages", "ds_type": "json"}


def resolved(words: str = "") -> Resolved:
    recipe = load_recipe("classify-lora")
    config = {**recipe.config, "datasets": [recipe.config["datasets"][0], ENTRY]}
    trial = {key: value for key, value in recipe.trial.items() if key != "replay"}
    return resolve(replace(recipe, config=config, trial=trial), Options("trial", "cpu", set=words))


def test_a_share_is_of_the_train_rows(tmp_path: Path) -> None:
    found = resolved("replay=0.05")
    rows = replay_rows(found, 600)
    assert rows is not None and len(rows) == 30
    assert found.identity["replay"] == 0.05
    assert found.replay and Path(drawn_entry(found.replay, Run(tmp_path))["path"]) == tmp_path / FILE
    own = place_paths(found.config, Run(tmp_path))["datasets"]
    assert [Path(entry["path"]) for entry in own] == [tmp_path / "data/train.jsonl"]
    assert GENERAL in more_rows(found), "the file is part of the run's id"


def test_only_rows_that_fit_are_drawn() -> None:
    short, long = (replay_rows(resolved(f"replay=0.1 sequence_len={n}"), 600) for n in (96, 512))
    assert short and long and len(short) == len(long) == 60
    assert [row["id"] for row in short] != [row["id"] for row in long]  # type: ignore[comparison-overlap]


def test_none_trains_on_the_own_rows_alone() -> None:
    found = resolved("replay=none")
    assert len(found.config["datasets"]) == 1 and found.replay is None and replay_rows(found, 600) is None


def test_null_trains_on_all_of_them() -> None:
    found = resolved("replay=null")
    assert [entry["path"] for entry in found.config["datasets"][1:]] == [GENERAL]
    assert replay_rows(found, 600) is None and "replay" not in found.identity


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "some", "true", "[1]"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(InputError, match="expected none or a share") as error:
        resolved(f"replay={value}")
    assert error.value.problems[0].code == "config.bad_replay"


def test_too_few_rows_are_named() -> None:
    with pytest.raises(InputError, match=f"0.5 of 4000 train rows is 2000 rows, but {GENERAL} has only"):
        replay_rows(resolved("replay=0.5"), 4000)


def test_a_share_needs_one_entry_that_it_is_of() -> None:
    recipe = load_recipe("classify-head")
    with pytest.raises(InputError, match="there are 1 entries"):
        resolve(recipe, Options("trial", "cpu", set="replay=0.1"))


def test_rows_that_are_no_conversations_are_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "other.jsonl", [{"messages": []}, {"text": "no turns"}])
    found = resolved("replay=0.1")
    assert found.replay
    other = found.replay._replace(entry={**ENTRY, "path": str(tmp_path / "other.jsonl")})
    with pytest.raises(InputError, match="no list called 'messages'") as error:
        replay_rows(replace(found, replay=other), 600)
    assert error.value.problems[0].line == 2
