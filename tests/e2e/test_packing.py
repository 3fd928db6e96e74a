"""Packing: rows that share a sequence do not see each other, and a packed recipe runs to its verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_fork import TOOL_TALKS
from tests.data.test_formats import put
from tests.support import tiny
from tests.support.commands import tunebook
from tests.support.trainings import train
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.files import read_json, read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.run import Run

STEPS = 3
# One step over all rows, in fp32: side by side and padded, or in one sequence.
BATCH = {
    "padded": "micro_batch_size=4",
    "packed": "micro_batch_size=1 sample_packing=true sequence_len=384 pad_to_sequence_len=true",
}
ALONE = f"gradient_accumulation_steps=1 num_epochs={STEPS} learning_rate=0.001 warmup_ratio=0 bf16=false "
ALONE += "evals_per_epoch=null saves_per_epoch=null"


@pytest.mark.slow
def test_a_packed_step_has_the_loss_and_the_gradient_of_a_padded_one(tmp_path: Path) -> None:
    """On the trial model, which would use what the other rows say: they repeat the list of labels."""
    recipe = recipes.load_recipe("classify-lora")
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    runs = {name: Run(tmp_path / name) for name in BATCH}
    for name, run in runs.items():
        resolved = resolve(recipe, Options("trial", "cpu", set=f"{ALONE} {BATCH[name]}", eval="quick"))
        resolved.config.pop("test_datasets")
        write_jsonl(run / "data" / "train.jsonl", prepare_rows(resolved, dataset)["train"][:4])
        write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "trial", "quick"), "")
    train(runs.values(), {})
    logs = {name: read_json(run / "train" / "history.json")["log"] for name, run in runs.items()}
    found = {
        name: [[entry[key] for key in ("loss", "grad_norm")] for entry in log if "loss" in entry]
        for name, log in logs.items()
    }
    assert len(found["packed"]) == len(found["padded"]) == STEPS
    for packed, padded in zip(found["packed"], found["padded"], strict=True):
        assert packed == pytest.approx(padded, rel=1e-3)
    assert found["padded"][-1][0] < 0.8 * found["padded"][0][0]


@pytest.mark.long
def test_a_packed_recipe_with_tools_runs_to_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork of chat-lora for conversations that call tools, trained on packed rows, and asked new ones."""
    folders = {f"TUNEBOOK_{kind.upper()}": str(tmp_path / kind) for kind in ("datasets", "recipes")}
    for variable, folder in folders.items():
        monkeypatch.setenv(variable, folder)
        Path(folder).mkdir()
    (tmp_path / "recipes" / "chat-lora").symlink_to(ROOT / "recipes" / "chat-lora")
    (tmp_path / "datasets" / "kettlewick-chat").symlink_to(ROOT / "datasets" / "kettlewick-chat")
    (tmp_path / "datasets" / "oasst2").symlink_to(ROOT / "datasets" / "oasst2")
    data = put(tmp_path, "talks.jsonl", TOOL_TALKS)
    assert run_fork(ForkOptions("chat-lora", "tides", str(data)), Console()) == 0

    base = tiny.save(tmp_path / "tiny")
    words = f"base_model={base} sample_packing=true pad_to_sequence_len=true evals_per_epoch=null"
    options = ["--tier", "trial", "--hardware", "cpu", "--eval", "quick", "--steps", "3"]
    runs = {"TUNEBOOK_RUNS": str(tmp_path / "runs")}
    result = tunebook("recipe", "tides", *options, "--set", words, timeout=600, **runs, **folders)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = Run(tmp_path / "runs" / "tides" / "latest")
    history, measured = read_json(run / "train" / "history.json"), read_json(run / "metrics.json")
    assert "sample_packing: true" in (run / "config.yaml").read_text()
    assert history["steps"] == 3
    assert history["trained_tokens"] > 0 and measured["verdict"]
    assert measured["contenders"]["tuned"]["calls"]["n"] > 0
    assert "chat_template" in (run / "report.html").read_text()

    new = put(tmp_path, "new.jsonl", [{**TOOL_TALKS[0], "messages": TOOL_TALKS[0]["messages"][:-1]}])
    out = tmp_path / "out.jsonl"
    result = tunebook("predict", "tides/latest", str(new), str(out), timeout=300, **runs, **folders)
    assert result.returncode == 0, result.stderr
    assert len(read_jsonl(out)) == 1
