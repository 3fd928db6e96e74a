"""The minutes of a trial that are said before it starts, beside what the published runs took."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest

from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_or_stand_in
from tunebook.data.render import render_all
from tunebook.models.trial_model import NAME
from tunebook.plan.trial import run_minutes
from tunebook.runs.rows import RenderedRow


def published(name: str) -> float:
    folder = ROOT / "recipes" / name / "results"
    found = [json.loads(path.read_text()) for path in folder.glob("trial-*.json")]
    return median(sum(one["seconds"].values()) for one in found) / 60


def expected(name: str, **config: Any) -> float:
    recipe = load_recipe(name)
    rows = render_all(load_dataset_or_stand_in(recipe.dataset, True))
    drawn = {split: some[: recipe.rows[split]] for split, some in rows.items()}
    found = run_minutes(drawn, resolve(recipe, Options("trial", "cpu")).config | {"bf16": True} | config)
    assert found is not None
    return found


# Those whose published runs had the machine to themselves; classify-lora's and chat-dpo's shared it.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat-lora", "qa-lora", "chat-full"])
def test_it_is_within_a_factor_of_two_of_the_published_runs(name: str) -> None:
    assert published(name) / 2 < expected(name) < published(name) * 2


@pytest.mark.slow
def test_steps_and_the_machine_change_it() -> None:
    usual = expected("chat-lora")
    assert expected("chat-lora", max_steps=10) < usual < expected("chat-lora", bf16=False)


def test_long_rows_take_more_than_their_share() -> None:
    def rows(words: int, count: int) -> list[RenderedRow]:
        text = "word " * words
        return [
            {
                "id": str(n),
                "group": str(n),
                "source": "x",
                "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}],
                "gold": {"answer": "Yes."},
            }
            for n in range(count)
        ]

    def minutes(words: int, count: int) -> float:
        some = rows(words, count)
        config = {"base_model": NAME, "adapter": "lora", "sequence_len": 8192, "num_epochs": 1}
        return run_minutes({"train": some, "dev": some, "test": some}, config) or 0.0

    assert minutes(4000, 40) > 1.2 * minutes(200, 800)


def test_it_is_not_known_for_a_base_of_unknown_shape() -> None:
    rows = render_all(load_dataset_or_stand_in("kettlewick-chat", True))
    assert run_minutes(rows, {"base_model": "somebody/else-1B", "num_epochs": 1}) is None
