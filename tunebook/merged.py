"""A run's adapter merged into its base: the model that preference tuning starts from and is compared with.

Axolotl 0.19 does not read `lora_model_dir` for preference tuning, and trl refuses a model that already has an
adapter. What is merged is what the run's own evaluation asked, in the same precision.

    python -m tunebook.merged RUN TARGET     # in a process of its own
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from filelock import FileLock

from tunebook.console import Console
from tunebook.errors import TunebookError
from tunebook.models import Models, weights_hash
from tunebook.paths import ROOT, child_environment, show
from tunebook.ranks import Ranks
from tunebook.run import Run, read_json, write_json

MERGED = "merged"
MADE_OF = "tunebook.json"


def ensure(run: Run, console: Console) -> Path:
    """Return the folder `merged` of `run`, making it where it is missing or of another adapter.

    Raises:
        TunebookError: the merge failed; the message holds its last line.
    """
    target, made_of = run / MERGED, {"adapter": weights_hash(run / "model")}
    with FileLock(run / ".merged.lock"):
        if read_json(target / MADE_OF) == made_of:
            return target
        console.stage("set-up", f"merging the adapter of {show(run.folder)} into its base (once)")
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=".merged-") as scratch:
            made = Path(scratch) / MERGED
            command = [sys.executable, "-m", "tunebook.merged", str(run.folder), str(made)]
            result = subprocess.run(
                command, cwd=ROOT, env=child_environment(), capture_output=True, text=True
            )
            with run.log.open("a", encoding="utf-8") as log:
                log.write(result.stdout + result.stderr)
            if result.returncode:
                last = (result.stderr.strip().splitlines() or ["no message"])[-1]
                raise TunebookError(f"The adapter could not be merged: {last}\nThe log: {show(run.log)}")
            write_json(made / MADE_OF, made_of)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(made, target)
    return target


def merge(run: Run, target: Path) -> None:
    """Write the tuned model of `run` and its tokenizer to `target`."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    models = Models(config, run / "model", Ranks())
    models.open("tuned", engine=False).net.save_pretrained(target)
    models.tokenizer.save_pretrained(target)


if __name__ == "__main__":
    merge(Run(Path(sys.argv[1])), Path(sys.argv[2]))
