"""Two gloo processes on a CPU, through the launcher that starts one process a GPU (torchrun)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import tiny
from tests.support.trainings import train
from tests.training.test_preflight import found_equal
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.files import read_json, read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.checkpoints import set_broken_aside
from tunebook.runs.run import Run
from tunebook.training.launch import run_child

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("root_on_path")]
CONFIG: dict[str, Any] = {
    "num_epochs": 1,
    "evals_per_epoch": None,
    "saves_per_epoch": None,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "warmup_ratio": 0,
    "learning_rate": 0.002,
    "bf16": False,
    "eval_batch_size": 8,
    "group_by_length": False,  # sorts a step's rows by what goes through the model at once
    "peft_layers_to_transform": None,
}
FSDP2 = {
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
        "offload_params": False,
        "cpu_ram_efficient_loading": False,
    },
}
LAUNCH = """
import sys
from pathlib import Path
from tunebook.core.console import Console
from tunebook.core.errors import TunebookError
from tunebook.runs.run import Run
from tunebook.training.launch import run_child
try:
    run_child(Run(Path(sys.argv[1])), train=True, evaluate=False, console=Console())
except TunebookError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def prepare(
    folder: Path,
    base: Path,
    name: str,
    world: int,
    more: dict[str, Any] | None = None,
    rows: int = 32,
    micro: int = 4,
) -> Run:
    """Make the run folder of steps of eight rows, which `world` processes share, `micro` at a time."""
    batch = f"micro_batch_size={micro} gradient_accumulation_steps={8 // micro // world}"
    recipe = recipes.load_recipe(name)
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    options = Options("trial", "cpu", set=f"base_model={base} {batch}", eval="quick")
    resolved = dataclasses.replace(resolve(recipe, options), world=world)
    resolved.config.update(CONFIG | (more or {}))
    resolved.config["plugins"].append("tests.support.cpu_ranks.CPURanks")
    run = Run(folder / f"{name}-{world}")
    split = prepare_rows(resolved, dataset)
    for part, count in (("train", rows), ("dev", 32), ("test", 32)):
        write_jsonl(run / "data" / f"{part}.jsonl", split[part][:count])
    write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "trial", "quick"), "")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Run]:
    """LoRA and full tuning, each by one process with two accumulated batches and by two processes; LoRA also
    by one process with one large batch."""
    folder = tmp_path_factory.mktemp("ranks")
    runs = {
        "lora": prepare(folder, base, "classify-lora", 1),
        "ddp": prepare(folder, base, "classify-lora", 2),
        "full": prepare(folder, base, "classify-full", 1),
        "fsdp2": prepare(folder, base, "classify-full", 2, FSDP2),
        "large": prepare(folder / "large", base, "classify-lora", 1, micro=8),
    }
    start = {"lora_model_dir": str(runs["lora"] / "model")}
    runs["continued"] = prepare(folder / "continued", base, "classify-lora", 1, start)
    train([runs[name] for name in ("lora", "full", "large", "continued")], {})
    run_child(runs["ddp"], train=True, evaluate=True, console=Console())
    runs["fsdp2"].mark("tokenise", "done")  # one launch is enough to show that; here rank 0 does it
    run_child(runs["fsdp2"], train=True, evaluate=False, console=Console())
    return runs


def losses(run: Run) -> list[float]:
    log = read_json(run / "train" / "history.json")["log"]
    return [entry[key] for key in ("loss", "eval_loss", "grad_norm") for entry in log if key in entry]


@pytest.mark.parametrize(("one", "two"), [("lora", "ddp"), ("full", "fsdp2"), ("lora", "large")])
def test_two_accumulated_batches_train_as_two_processes_or_one_large_batch(
    one: str, two: str, trained: dict[str, Run]
) -> None:
    expected = losses(trained[one])
    assert len(expected) == 4 + 1 + 4  # the dev loss comes once, after the last step
    assert losses(trained[two]) == pytest.approx(expected, rel=1e-3)
    assert expected[0] != pytest.approx(expected[3], rel=1e-3), "it learned, so that losses can differ"


@pytest.mark.parametrize(("name", "share"), [("ddp", 1.0), ("fsdp2", 0.5)])
def test_fsdp2_shards_and_ddp_does_not(name: str, share: float, trained: dict[str, Run]) -> None:
    for rank in (0, 1):
        found = read_json(trained[name] / "train" / f"shards-{rank}.json")
        assert found == {"world": 2, "share": pytest.approx(share, abs=0.02)}


@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_training_can_go_on_from_what_two_processes_saved(name: str, trained: dict[str, Run]) -> None:
    assert set_broken_aside(trained[name] / "train") == ([], 4)


def test_rows_are_tokenised_once_before_the_launch(trained: dict[str, Run]) -> None:
    log = trained["ddp"].log.read_text()
    launch = log.index("Loading prepared dataset")
    assert "Unable to find prepared dataset" in log[:launch]
    assert "Unable to find prepared dataset" not in log[launch:]


@pytest.mark.parametrize(("one", "two"), [("lora", "ddp"), ("full", "fsdp2")])
def test_what_two_processes_saved_scores_like_what_one_saved(
    one: str, two: str, trained: dict[str, Run], base: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([tiny.tokenizer()("The burrow door is stuck again, what shall I do?")["input_ids"]])
    models = [AutoModelForCausalLM.from_pretrained(base)]
    for run in (trained[one], trained[two]):
        if one == "lora":
            models.append(
                PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "model")
            )
        else:
            models.append(AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32))
    with torch.no_grad():
        before, single, double = (model.eval()(ids).logits for model in models)
    moved = (single - before).abs().max()
    assert moved > 0.01
    assert (double - single).abs().max() < 0.01 * moved


def test_evaluation_by_two_processes_is_that_of_one(trained: dict[str, Run], tmp_path: Path) -> None:
    two = trained["ddp"]
    one = Run(tmp_path / "one")
    shutil.copytree(two.folder, one.folder)
    shutil.rmtree(one / "eval")
    settings = read_json(one / "settings.json")
    (one / "settings.json").write_text(json.dumps({**settings, "world": 1}))
    run_child(one, train=False, evaluate=True, console=Console())
    names = sorted(path.name for path in (two / "eval" / "answers").iterdir())
    assert "tuned.dev.jsonl" in names
    for name in names:
        assert read_jsonl(one / "eval" / "answers" / name) == read_jsonl(two / "eval" / "answers" / name), (
            name
        )
    parts = {path.name for path in (two / "eval" / "jobs").iterdir()}
    assert {"tuned.dev.generate.0.jsonl", "tuned.dev.generate.1.jsonl"} <= parts


def test_training_goes_on_from_an_adapter(trained: dict[str, Run]) -> None:
    """What `FROM_RUN=` sets: the first step, on the same rows, begins where the run before has ended."""
    logs = [read_json(trained[name] / "train" / "history.json")["log"] for name in ("lora", "continued")]
    for key in ("loss", "eval_loss"):
        before, after = ([entry[key] for entry in log if key in entry] for log in logs)
        assert after[0] < before[0]


def test_two_processes_of_a_launch_find_each_other_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path)
    (run / "config.yaml").write_text("seed: 42\n")
    found_equal(run, capsys)


def test_a_killed_process_ends_the_run(base: Path, tmp_path: Path) -> None:
    run = prepare(tmp_path, base, "classify-lora", 2, rows=600)
    run.mark("tokenise", "done")
    command = [sys.executable, "-c", LAUNCH, str(run.folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    events = run / "events.jsonl"
    while not events.is_file() or '"train"' not in events.read_text():
        assert process.poll() is None, run.log.read_text()[-3000:]
        time.sleep(0.2)
    forks = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.parent().cmdline() == child.cmdline() and child.environ().get("RANK") == "1"
    ]
    assert len(forks) == 1
    forks[0].kill()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "train failed: ChildProcessError: process 1 was killed by SIGKILL" in said
    assert not run.done("train")
