"""`tunebook recipe --rehearse` with the real Axolotl: the real tier of a recipe on a tiny base model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.commands import tunebook
from tunebook.core.files import read_json
from tunebook.core.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder with one recipe, which trains on rows of this checkout."""
    folder = shutil.copytree(ROOT / "recipes" / "classify-lora", tmp_path / "recipes" / "mine")
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text.replace("datasets/banking77/", "datasets/kettlewick-intents/"))
    return folder.parent


def rehearse(base: Path, recipes: Path, *words: str) -> tuple[int, str, Path]:
    """Return the exit code, all output, and the folder of the rehearsal."""
    runs = recipes.parent / "runs"
    places = {"TUNEBOOK_RUNS": str(runs), "TUNEBOOK_RECIPES": str(recipes), "HF_HUB_OFFLINE": "1"}
    command = ["recipe", "mine", "--rehearse", "--model", str(base), "--hardware", "24gb", *words]
    found = tunebook(*command, timeout=900, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", **places)
    (folder,) = (runs / "mine").iterdir()
    return found.returncode, found.stdout + found.stderr, folder


def test_the_real_tier_runs_to_its_report_and_leaves_no_result(base: Path, recipes: Path) -> None:
    code, said, folder = rehearse(
        base, recipes, "--set", "gradient_checkpointing=true sample_packing=true group_by_length=false"
    )
    assert code == 0, said
    assert {path.name for path in folder.iterdir()} <= {"rehearsal.json", "log.txt", ".lock"}
    kept = read_json(folder / "rehearsal.json")
    assert kept["status"] == "passed" and folder.name == f"rehearsal-{kept['key']}"
    shown = "\n".join(kept["exercised"])
    for word in (
        "LlamaForCausalLM with 2 of 2 layers",
        "64 train",
        "4 steps",
        "sample_packing",
        "tuned",
        "svm",
    ):
        assert word in shown, word
    assert "rows was compared with the rows and is the same" in shown, "the loss mask of every row"
    assert "with sample_packing, gradient_checkpointing" in shown
    missing = "\n".join(kept["not_exercised"])
    for word in ("bf16 (true; here off)", "tf32", "lora_qkv_kernel (on by default; here off)", "weights"):
        assert word in missing, word
    for line in (*kept["exercised"], *kept["not_exercised"]):
        assert line in said
    assert "price     " in said and "Next: make launch NAME=mine" in said
    words = ["launch", "mine", "--on", "slurm", "--gpu", "l4", "--model", str(base), "--dry", "--set"]
    places = {"TUNEBOOK_RUNS": str(recipes.parent / "runs"), "TUNEBOOK_RECIPES": str(recipes)}
    order = tunebook(
        *words, "gradient_checkpointing=true sample_packing=true group_by_length=false", **places
    )
    assert "rehearsal passed on" in order.stdout, order.stdout + order.stderr


@pytest.mark.long
def test_a_stage_that_fails_is_named_and_its_rows_are_kept(base: Path, recipes: Path, tmp_path: Path) -> None:
    """Targets that the architecture does not have: without weights here, no check of the config knows."""
    small = shutil.copytree(base, tmp_path / "small", ignore=shutil.ignore_patterns("*.safetensors"))
    words = "lora_target_linear=null lora_target_modules=[no_such_proj]"
    code, said, folder = rehearse(small, recipes, "--set", words)
    assert code == 4, said
    assert "rehearsal: train failed: ValueError: Target modules" in said and "train.rehearsal_failed" in said
    kept = read_json(folder / "rehearsal.json")
    assert kept["status"] == "failed" and "no_such_proj" in kept["error"]
    assert {"log.txt", "data", "config.yaml"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "state.json").exists() and not (folder / "train").exists()
