"""A run's adapter merged into its base: the model that preference tuning starts from and is compared with.

Axolotl 0.19 does not read `lora_model_dir` for preference tuning, and trl refuses a model that already has an
adapter. What is merged is what the run's own evaluation asked, in the same precision.

    python -m tunebook.merged RUN TARGET     # in a process of its own
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from filelock import FileLock

from tunebook.child import ChildError, write_folder
from tunebook.console import Console
from tunebook.errors import TunebookError
from tunebook.models import Models, weights_hash
from tunebook.paths import show
from tunebook.ranks import Ranks
from tunebook.run import Run, read_json, write_json

MERGED = "merged"
MADE_OF = "tunebook.json"


def ensure(run: Run, console: Console) -> Path:
    """Return the folder `merged` of `run`, making it where it is missing or of another adapter.

    Raises:
        TunebookError: the merge failed; the message holds its last line.
    """
    target = run / MERGED
    with FileLock(run / ".merged.lock"):
        if read_json(target / MADE_OF) == _made_of(run):
            return target
        console.stage("set-up", f"merging the adapter of {show(run.folder)} into its base (once)")
        try:
            write_folder("tunebook.merged", [str(run.folder)], target, run.log)
        except ChildError as error:
            raise TunebookError(
                f"The adapter could not be merged: {error}\nThe log: {show(run.log)}"
            ) from error
    return target


def _made_of(run: Run) -> dict[str, str]:
    return {"adapter": weights_hash(run / "model")}


def merge(run: Run, target: Path) -> None:
    """Write the tuned model of `run` and its tokenizer to `target`."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    models = Models(config, run / "model", Ranks())
    models.open("tuned", engine=False).net.save_pretrained(target)
    models.tokenizer.save_pretrained(target)
    write_json(target / MADE_OF, _made_of(run))


if __name__ == "__main__":
    merge(Run(Path(sys.argv[1])), Path(sys.argv[2]))
