"""The config of a rehearsal: the real tier's, except for what makes it small; and which runs it covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import in_process
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation.suite import load_suite
from tunebook.pipeline import rehearsal_config as settings
from tunebook.runs.run import Run

SMALLER = {"base_model", "micro_batch_size", "gradient_accumulation_steps", "eval_batch_size", "max_steps"}
CPU = {
    "plugins",
    "lora_embedding_kernel",
    "dataset_num_proc",
    "dataloader_num_workers",
    "dataloader_pin_memory",
}


def real(name: str = "classify-lora", hardware: str = "80gb", **options: Any) -> Resolved:
    return resolve(recipes.load_recipe(name), Options("real", hardware, **options), for_this_machine=False)


@pytest.mark.parametrize("name", recipes.names())
def test_each_key_that_differs_is_said(name: str, tmp_path: Path) -> None:
    whole = real(name)
    config, switched, outside = settings.rehearsal_config(whole, tmp_path)
    said = {one.key for one in switched} | set(outside) | SMALLER | CPU
    said |= {"eval_sample_packing"} if whole.config.get("sample_packing") else set()
    assert not config.get("sample_packing") or config["eval_sample_packing"] is False
    differ = {key for key in {*config, *whole.config} if config.get(key) != whole.config.get(key)}
    assert {key for key in differ if whole.config.get(key) or config.get(key)} <= said
    length = config.get("sequence_len", 512)
    assert config["micro_batch_size"] * length <= max(2048, length)
    assert config["num_epochs"] == whole.config["num_epochs"]


def test_nothing_leaves_the_machine_and_numbers_of_steps_are_within_reach() -> None:
    words = "use_wandb=true wandb_project=mine hub_model_id=me/mine eval_steps=50 save_steps=50"
    words += " evals_per_epoch=null saves_per_epoch=null"
    config, _, outside = settings.rehearsal_config(real(set=words), Path("/base"))
    assert outside == ["hub_model_id", "use_wandb", "wandb_project"] and not set(outside) & config.keys()
    assert config["eval_steps"] == config["save_steps"] == settings.STEPS / 2


def test_further_files_of_rows_give_a_few(tmp_path: Path) -> None:
    config = dict(real().config)
    before = list(config["datasets"])
    config["datasets"] = [*before, {"path": "some/rows", "split": "train"}]
    settings.few_more_rows(config, Run(tmp_path))
    own, general, hub = config["datasets"]
    assert own == before[0] and hub == {"path": "some/rows", "split": "train[:16]"}
    assert len(read_jsonl(Path(general["path"]))) == settings.MORE_ROWS
    assert Path(general["path"]).is_relative_to(tmp_path)
    assert before[1]["path"] == "datasets/general/train.jsonl", "the recipe's own entries are unchanged"


def test_the_evaluation_asks_little_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_JUDGE", "1")
    whole = load_suite(recipes.load_recipe("chat-lora"), "chat", "real", "full")
    less, left_out = settings.rehearsal_suite(whole)
    assert less.max_new_tokens == 16 and less.dev_rows == less.generate_rows == 4
    assert not less.judge and {task.kind for task in less.retention.values()} <= {"text", "options", "checks"}
    assert any("mmlu" in line for line in left_out) and "the judge" in left_out
    assert all(task.limit and task.limit <= settings.ITEMS for task in less.retention.values())


def test_fewer_rows_may_be_asked_for_but_not_more() -> None:
    assert settings.row_counts("") == settings.ROWS
    assert settings.row_counts("train=20,test=500") == {**settings.ROWS, "train": 20}


@pytest.mark.parametrize(
    "words",
    [["--tier", "trial"], ["--store", "/tmp/x"], ["--from-run", "chat-lora/latest"], ["--seeds", "2"]],
)
def test_options_that_do_not_go_with_it_are_refused(words: list[str], tmp_path: Path) -> None:
    found = in_process("recipe", "classify-lora", "--rehearse", *words, TUNEBOOK_RUNS=str(tmp_path / "runs"))
    assert found.returncode == 2 and "option.not_with_rehearse" in found.stderr
    assert not (tmp_path / "runs").exists()


# For which launches one holds


def key(**options: Any) -> str:
    return settings.key(real(**options), load_dataset_config("banking77"))


def test_it_holds_for_any_gpu_seed_and_number_of_steps() -> None:
    one = key()
    assert one == key(hardware="24gb") == key(seed=7) == key(steps=9) == key(gpus=4)
    assert (
        one != key(set="lora_r=8") and one != key(model="Qwen/Qwen3-4B") and one != key(name="classify-full")
    )


def test_changed_rows_need_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def now() -> str:
        return settings.key(real(), load_dataset_config("kettlewick-intents"))

    first = now()
    sources = tmp_path / "kettlewick-intents"
    for path in (ROOT / "datasets" / "kettlewick-intents").rglob("*.jsonl"):
        copy = sources / path.relative_to(ROOT / "datasets" / "kettlewick-intents")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path))
    assert now() == first
    file = next(sources.rglob("train.jsonl"))
    file.write_text(file.read_text() + "\n")
    assert now() != first
