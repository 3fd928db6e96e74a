"""Training resumed in the middle of a later epoch continues with the rows of that epoch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.forked import with_axolotl
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import read_json, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.run import Run

pytestmark = pytest.mark.slow
EPOCHS = 3
SHORT = (
    f"num_epochs={EPOCHS} gradient_accumulation_steps=1 bf16=false evals_per_epoch=null saves_per_epoch=null "
)
SHORT += "save_steps=1 eval_steps=100 save_total_limit=40 replay=none peft_layers_to_transform=null "
BATCHES = {
    "grouped by length": "micro_batch_size=4",
    "in random order": "micro_batch_size=4 group_by_length=false",
    "packed": "micro_batch_size=1 group_by_length=false sample_packing=true pad_to_sequence_len=true "
    "sequence_len=512",
}
Seen = list[tuple[int, float]]


def prepare(folder: Path, base: Path, words: str) -> Run:
    recipe = recipes.load_recipe("classify-lora")
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    given = Options("trial", "cpu", set=f"base_model={base} {SHORT} {words}", eval="quick")
    resolved = resolve(recipe, given)
    run, rows = Run(folder), prepare_rows(resolved, dataset)
    for split, count in (("train", 24), ("dev", 8), ("test", 8)):
        write_jsonl(run / "data" / f"{split}.jsonl", rows[split][:count])
    write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "trial", "quick"), "")
    return run


def train_twice(runs: list[tuple[Run, Run]]) -> list[tuple[int, Seen, Seen]]:
    """Train the first of each pair, then the second from the middle of the first one's second epoch on;
    return that step, and the losses of both by step."""
    from tunebook.pipeline.worker import train

    found = []
    for whole, resumed in runs:
        assert train(whole.folder) == 0
        steps = len(losses(whole))
        middle = f"checkpoint-{steps // 2}"
        shutil.copytree(whole / "train" / middle, resumed / "train" / middle)
        assert train(resumed.folder) == 0
        found.append((steps, losses(whole), losses(resumed)))
    return found


def losses(run: Run) -> Seen:
    newest = max((run / "train").glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    log: list[dict[str, Any]] = read_json(newest / "trainer_state.json")["log_history"]
    return [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]


def test_a_resumed_epoch_has_the_rows_that_are_left_of_it(tmp_path: Path) -> None:
    base = tiny.save(tmp_path / "tiny")
    runs = [
        (prepare(tmp_path / kind / "whole", base, words), prepare(tmp_path / kind / "resumed", base, words))
        for kind, words in BATCHES.items()
    ]
    for kind, (steps, whole, resumed) in zip(BATCHES, with_axolotl(train_twice, runs), strict=True):
        epoch = steps // EPOCHS
        assert epoch >= 2 and steps // 2 % epoch, f"{kind}: not in the middle of an epoch: {steps} steps"
        for (step, one), (other, two) in zip(whole, resumed, strict=True):
            assert step == other and two == pytest.approx(one, rel=1e-5), f"{kind}: step {step}"
