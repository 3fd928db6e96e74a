"""The rows of a run: drawn among those that can be trained on, and refused where hardly any can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import small_data
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError
from tunebook.pipeline.prepare import prepare_rows


def resolved(tier: Any = "trial", set: str = "") -> Resolved:
    return resolve(load_recipe("classify-lora"), Options(tier, "cpu", set=set), for_this_machine=False)


def rows(count: int, long: int = 0, words: int = 2000) -> list[dict[str, Any]]:
    texts = [f"tree number {n} " + "leaf " * (words if n < long else 3) for n in range(count)]
    return [{"id": f"r{n}", "text": text, "label": small_data.LABELS[n % 3]} for n, text in enumerate(texts)]


@pytest.mark.parametrize("tier", ["trial", "real"])
def test_under_30_train_rows_are_refused(tier: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare_rows(resolved(tier), small_data.dataset(tmp_path, {"train": rows(29)}))
    assert caught.value.codes == ["rows.too_few_to_train"] and "29 train rows" in str(caught.value)
    assert len(prepare_rows(resolved(tier), small_data.dataset(tmp_path, {"train": rows(30)}))["train"]) == 30


@pytest.mark.slow
def test_a_trial_draws_among_the_rows_that_fit_and_says_what_would(tmp_path: Path) -> None:
    drops = "sequence_len=128 excess_length_strategy=drop"
    data = small_data.dataset(tmp_path, {"train": rows(80, long=40)})
    found = prepare_rows(resolved(set=drops), data)["train"]
    assert len(found) == 40 and all(len(row["messages"][1]["content"]) < 100 for row in found)
    with pytest.raises(InputError) as caught:
        prepare_rows(resolved(set=drops), small_data.dataset(tmp_path, {"train": rows(80, long=60)}))
    assert caught.value.codes == ["rows.too_few_to_train"]
    assert "only 20 of the 80" in str(caught.value) and "sequence_len=4096" in str(caught.value)


def test_a_trial_stops_before_axolotl_does(tmp_path: Path) -> None:
    raises = resolved(set="sequence_len=128 excess_length_strategy=raise")
    with pytest.raises(InputError) as caught:
        prepare_rows(raises, small_data.dataset(tmp_path, {"train": rows(60, long=2)}))
    assert caught.value.codes == ["rows.over_sequence_len"] and "2 of the 90" in str(caught.value)
    prepare_rows(raises, small_data.dataset(tmp_path, {"train": rows(60)}))


def test_dev_and_test_of_a_trial_fit_its_base_model(tmp_path: Path) -> None:
    notes: list[str] = []
    data = small_data.dataset(tmp_path, {"train": rows(60), "test": rows(40, long=4, words=9000)})
    set = "base_model=HuggingFaceTB/SmolLM2-135M-Instruct"
    assert len(prepare_rows(resolved(set=set), data, None, notes)["test"]) == 36
    assert len(notes) == 1 and "4 of 40 test rows" in notes[0]
    all_long = small_data.dataset(tmp_path, {"train": rows(60), "test": rows(3, long=3, words=9000)})
    with pytest.raises(InputError) as caught:
        prepare_rows(resolved(set=set), all_long)
    assert caught.value.codes == ["rows.over_positions"]
