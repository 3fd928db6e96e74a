"""A run's adapter merged into its base: the model that preference tuning starts from and is compared with.

Axolotl 0.19 does not read `lora_model_dir` for preference tuning, and trl refuses a model that already has an
adapter. The merged model is the one that the run's own evaluation measured, in the same precision.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from tunebook.core.console import Console
from tunebook.core.errors import TunebookError
from tunebook.core.files import read_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError, write_folder
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import MERGED, Run

MADE_OF = "tunebook.json"


def ensure(run: Run, console: Console) -> Path:
    """Return the folder `merged` of `run`, made where it is missing or belongs to another adapter.

    Raises:
        TunebookError: the merge failed; the message holds its last line.
    """
    target = run / MERGED
    with FileLock(run / ".merged.lock"):
        if read_json(target / MADE_OF) == made_of(run):
            return target
        console.stage("set-up", f"merging the adapter of {show(run.folder)} into its base (once)")
        try:
            write_folder("tunebook.pipeline.merge_worker", [str(run.folder)], target, run.log)
        except ChildError as error:
            raise TunebookError(
                f"The adapter could not be merged: {error}\nThe log: {show(run.log)}",
                code="model.merge_failed",
            ) from error
    return target


def made_of(run: Run) -> dict[str, str]:
    """Return the hash of the adapter, by which a merged model of another one is recognized."""
    return {"adapter": weights_hash(run / "model")}
