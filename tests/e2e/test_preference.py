"""Preference tuning with the real Axolotl on a two-layer model: train, resume, merge, evaluate, report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.trainings import train
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.files import read_json, read_jsonl, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.evaluation.pairs import pairs
from tunebook.export import merge
from tunebook.metrics.schema import validate
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs import run as runs_run
from tunebook.runs.run import Run
from tunebook.runs.supervised import read_supervised

pytestmark = pytest.mark.slow
RATE, BETA = 0.02, 0.1
SHORT = "num_epochs=1 evals_per_epoch=null saves_per_epoch=null save_steps=2 eval_steps=2 save_total_limit=9"
SHORT += f" warmup_ratio=0 bf16=false eval_batch_size=4 learning_rate={RATE} lora_r=4 lora_alpha=8"
SHORT += " dpo_loss_type=[sigmoid] dpo_loss_weights=null"


def prepare(
    folder: Path, base: Path, name: str = "chat-dpo", words: str = SHORT, from_run: str | None = None
) -> Run:
    """Make the run folder of four steps of four rows."""
    recipe = recipes.load_recipe(name)
    dataset = load_dataset_config(recipe.dataset)
    dataset = load_dataset_config(dataset.stand_in) if dataset.stand_in else dataset
    options = Options("trial", "cpu", set=f"base_model={base} {words}", eval="quick", from_run=from_run)
    resolved = resolve(recipe, options)
    run = Run(folder)
    rows = prepare_rows(resolved, dataset)
    for split, count in (("train", 16), ("dev", 8), ("test", 8)):
        write_jsonl(run / "data" / f"{split}.jsonl", rows[split][:count])
    write_inputs(run, resolved, dataset, suite.load_suite(recipe, dataset.task, "trial", "quick"), "")
    for stage in ("check", "data"):
        run.mark(stage, "done", 0.1)
    return run


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of chat-lora with an adapter that changes a lot, made by hand."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("before")
    run = prepare(folder / "chat", tiny.save(folder / "tiny"), "chat-lora", "bf16=false")
    torch.manual_seed(1)
    shape = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(tiny.model(), shape).save_pretrained(run / "model")
    tiny.tokenizer().save_pretrained(run / "model")
    run.mark("train", "done", 1.0)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, before: Run) -> dict[str, Run]:
    """The merged model tuned by preference, undisturbed and from its second step on."""
    folder = tmp_path_factory.mktemp("preference")
    base = Path(yaml.safe_load((before / "config.yaml").read_text())["base_model"])
    made = {name: prepare(folder / name, base, from_run=str(before.folder)) for name in ("whole", "resumed")}
    merge.ensure(before, Console())
    train([made["whole"]], {made["resumed"]: made["whole"]})
    return made


def logged(run: Run, key: str) -> list[float]:
    log = read_json(run / "train" / "history.json")["log"]
    return [entry[key] for entry in log if key in entry]


def test_merged_is_the_adapter_in_its_base_and_made_once(before: Run, runs: dict[str, Run]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = before / runs_run.MERGED
    made = (folder / merge.MADE_OF).stat().st_mtime_ns
    assert merge.ensure(before, Console()) == folder
    assert (folder / merge.MADE_OF).stat().st_mtime_ns == made
    assert yaml.safe_load((runs["whole"] / "config.yaml").read_text())["base_model"] == str(folder)
    ids = torch.tensor([[1, 9, 400, 7]])
    with torch.inference_mode():
        expected = PeftModel.from_pretrained(tiny.model(), str(before / "model"))(ids).logits
        found = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    assert (found - expected).abs().max() < 1e-3
    assert (tiny.model()(ids).logits - expected).abs().max() > 0.1


def test_training_starts_at_its_reference_and_leaves_it(runs: dict[str, Run]) -> None:
    margins, losses = logged(runs["whole"], "rewards/margins"), logged(runs["whole"], "loss")
    assert margins[0] == pytest.approx(0, abs=1e-5), "the first step compares a model with itself"
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert margins[-1] > 0.01


def test_both_answers_of_all_pairs_were_compared(runs: dict[str, Run]) -> None:
    for run in runs.values():
        found = read_supervised(run / "train")
        assert found and (found["rows"], found["compared"], found["differ"]) == (16, 16, 0)


def test_a_resumed_training_ends_where_an_undisturbed_one_does(runs: dict[str, Run]) -> None:
    from safetensors.torch import load_file

    first, second = (load_file(run / "model" / "adapter_model.safetensors") for run in runs.values())
    assert first.keys() == second.keys()
    assert all((first[name] - second[name]).abs().max() < 1e-6 for name in first)
    assert logged(runs["resumed"], "eval_loss")[-1] == pytest.approx(
        logged(runs["whole"], "eval_loss")[-1], abs=1e-6
    )


def test_evaluation_measures_what_was_trained(runs: dict[str, Run]) -> None:
    """The rewards are those that trl logs on dev, and metrics.json and report are whole."""
    from tunebook.evaluation.evaluate import evaluate
    from tunebook.evaluation.evaluator import Evaluator

    run = runs["whole"]
    evaluation = Evaluator.of_run(run)
    evaluation.suite.checkpoints = "last"
    evaluate(evaluation)
    run.mark("evaluate", "done", 1.0)
    compare(run)
    records = read_jsonl(run / "eval" / "answers" / "tuned.dev.jsonl")
    rewards = [BETA * record["reward"] for record in records]
    assert logged(run, "eval_rewards/margins")[-1] == pytest.approx(sum(rewards) / len(rewards), abs=1e-3)
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    validate(metrics)
    assert (metrics["primary"], metrics["rows"], metrics["trained_tokens"]) == ("preference", 8, None)
    assert metrics["contenders"]["base_generate_0"]["reward_accuracy"]["value"] == 0.5
    assert {gate["name"] for gate in metrics["gates"]} == {"loss", "length_ratio", "stop_rate"}
    right = sum(reward > 0 for reward in rewards) / len(rewards)
    assert metrics["contenders"]["tuned"]["reward_accuracy"]["value"] == right
    assert "reward_accuracy" in write_report(run).read_text()
    found, same = pairs(run)  # what a reader or a judge compares for the win rate
    answered = sum("answer" in record for record in records)
    assert len(found) + same == answered > 0
    assert all(pair.reference and pair.asked[-1]["role"] == "user" for pair in found)
