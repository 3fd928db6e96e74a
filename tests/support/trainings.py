"""Train run folders in one process that imports Axolotl once; each training is a fork, as in a real run.

python -m tests.support.trainings RUN RUN=TWIN    # the second resumes from its twin's second step
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tunebook.core.paths import ROOT, child_environment
from tunebook.runs.run import Run


def train(runs: Iterable[Run], resumed: dict[Run, Run]) -> None:
    """Train `runs`, then those in `resumed` {run: its undisturbed twin} from the twin's second step on."""
    words = [str(run.folder) for run in runs]
    words += [f"{run.folder}={twin.folder}" for run, twin in resumed.items()]
    environment = child_environment() | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, *words]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]


def main(words: list[str]) -> None:
    from tunebook.pipeline.worker import train as train_one
    from tunebook.training.launch import finish_training

    for word in words:
        folder, _, twin = word.partition("=")
        if twin:
            checkpoint = Path("train") / "checkpoint-2"
            shutil.copytree(twin / checkpoint, folder / checkpoint)
        assert train_one(Path(folder)) == 0, folder
        finish_training(Run(Path(folder)))
        Run(Path(folder)).mark("train", "done", 1.0)


if __name__ == "__main__":
    main(sys.argv[1:])
