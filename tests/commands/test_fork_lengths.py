"""Long rows: the trial tier gets a sequence length at which something is trained, or the fork stops."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tunebook.commands.fork.output.recipe_text import Made
from tunebook.commands.fork.output.trial_text import trial_text
from tunebook.config.recipe import load_recipe
from tunebook.core.errors import InputError
from tunebook.data.lengths import Lengths, fitting


def trial(
    fitting: dict[int, int], longest: int = 30_000, train: int = 400
) -> tuple[dict[str, Any], list[str]]:
    recipe = load_recipe("qa-lora")
    lengths = Lengths(
        7000.0, longest, {length: train - count for length, count in fitting.items()}, "counted"
    )
    counts = {"train": train, "dev": 50, "test": 50}
    made = Made("mine", "qa-lora", "qa", 0, False, False, counts, lengths, "rows.json", False, fitting)
    text, notes = trial_text(recipe.trial, recipe.rows, recipe.config, made)
    return yaml.safe_load(text), notes


def test_rows_that_fit_keep_the_usual_length() -> None:
    keys, notes = trial({1024: 390, 2048: 400, 4096: 400, 8192: 400})
    assert keys["sequence_len"] == 1024 and keys["excess_length_strategy"] == "drop"
    assert notes == ["trial tier: 10 rows of more than 1024 tokens are dropped from training"]


def test_where_hardly_any_row_fits_the_length_is_raised_and_said() -> None:
    keys, notes = trial({1024: 11, 2048: 20, 4096: 130, 8192: 300})
    assert keys["sequence_len"] == 4096
    assert "only 11 of 400 train rows have at most 1024 tokens" in notes[0]


def test_where_no_length_fits_the_fork_stops() -> None:
    with pytest.raises(InputError) as caught:
        trial({1024: 0, 2048: 0, 4096: 2, 8192: 9})
    assert caught.value.code == "rows.too_few_to_train"


def test_rows_are_counted_where_letters_leave_a_doubt() -> None:
    def row(words: int) -> dict[str, Any]:
        return {
            "messages": [{"role": "user", "content": "word " * words}, {"role": "assistant", "content": "x"}]
        }

    assert fitting([row(10), row(200), row(5000)], (300,))[300] == [row(10), row(200)]
