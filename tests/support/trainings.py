"""Train run folders in one process that has imported Axolotl; each training is a fork, as in a real run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.support.forked import with_axolotl
from tunebook.runs.run import Run


def train(runs: Iterable[Run], resumed: dict[Run, Run]) -> None:
    """Train `runs`, then those in `resumed` {run: its undisturbed twin} from the twin's second step on."""
    twins = {run.folder: twin.folder for run, twin in resumed.items()}
    with_axolotl(_train, [run.folder for run in runs], twins)


def _train(folders: list[Path], twins: dict[Path, Path]) -> None:
    from tunebook.pipeline.worker import train as train_one
    from tunebook.training.launch import finish_training

    for folder in [*folders, *twins]:
        if folder in twins:
            checkpoint = Path("train") / "checkpoint-2"
            shutil.copytree(twins[folder] / checkpoint, folder / checkpoint)
        assert train_one(folder) == 0, folder
        finish_training(Run(folder))
        Run(folder).mark("train", "done", 1.0)
