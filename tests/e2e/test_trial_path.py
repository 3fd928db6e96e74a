"""`tunebook recipe` with the real Axolotl on the trial model; a file of its own, for a worker of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunebook.core.paths import ROOT

pytestmark = pytest.mark.slow
SHORT = "evals_per_epoch=null saves_per_epoch=null save_steps=60 warmup_ratio=0"
QUICK = "micro_batch_size=4 learning_rate=0.002"  # in half the time, to three labels of ten right


def test_whole_trial_path_shortened(tmp_path: Path) -> None:
    """classify-lora on the real trial model: fewer steps and rows, everything evaluated."""
    folder = shutil.copytree(ROOT / "recipes" / "classify-lora", tmp_path / "recipes" / "classify-lora")
    trial = folder / "trial.yaml"
    rows = "rows: {train: 600, dev: 120, test: 300}"
    assert rows in trial.read_text()
    trial.write_text(trial.read_text().replace(rows, "rows: {train: 480, dev: 24, test: 110}"))
    (folder / "eval.yaml").write_text("dev_rows: 8\nagreement_rows: 8\n")
    env = {
        **os.environ,
        "TUNEBOOK_RUNS": str(tmp_path / "runs"),
        "TUNEBOOK_RECIPES": str(tmp_path / "recipes"),
    }
    command = [sys.executable, "-m", "tunebook.commands.cli", "recipe", "classify-lora", "--tier", "trial"]
    settings = ["--steps", "60", "--hardware", "cpu", "--set", f"{SHORT} {QUICK}"]
    result = subprocess.run([*command, *settings], env=env, capture_output=True, text=True)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    measured = json.loads((tmp_path / "runs" / "classify-lora" / "latest" / "metrics.json").read_text())
    tuned = measured["contenders"]["tuned"]["accuracy"]["value"]
    assert tuned > measured["contenders"][measured["baseline"]]["accuracy"]["value"] + 0.1
    assert measured["verdict"] == "better"
    assert measured["contenders"]["tuned"]["accuracy"]["n"] >= 100
    assert set(measured["contenders"]) >= {"base_generate_0", "tuned", "tuned_rank_0", "svm"}
    ranked = measured["contenders"]["tuned_rank_0"]
    assert ranked["accuracy"]["n"] == measured["rows"]
    assert ranked["ece_15"]["value"] is not None and ranked["invalid_rate"]["value"] is None
    assert "trial tier" in measured["sentence"]
    # bf16 rounds a merge, so not 1; far apart would mean that the merge lost the adapter.
    assert 0.6 < measured["token_agreement_unmerged_merged"] <= 1
