"""`thinking` in a training and its evaluation: two steps of a tiny model with Qwen3's template."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.families import family_tokenizer, in_memory
from tests.support.lazy import lazy
from tests.support.trainings import train
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import read_json, read_jsonl, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.data.thinking.answers import each_answer, without_reasoning
from tunebook.evaluation import suite
from tunebook.evaluation.contenders import TUNED
from tunebook.metrics.aggregate import measure
from tunebook.pipeline.prepare import write_inputs
from tunebook.runs.run import Run

evaluators = lazy("tunebook.evaluation.evaluator")
effects = lazy("tunebook.evaluation.side_effects")
pytestmark = pytest.mark.slow
SETTINGS = ("off", "keep", "mask")
SMALL = "max_steps=2 bf16=false tf32=false gradient_accumulation_steps=1 micro_batch_size=2 sequence_len=256 "
SMALL += "warmup_ratio=0 learning_rate=0.01 lora_r=4 lora_alpha=8 sample_packing=false evals_per_epoch=null "
SMALL += "saves_per_epoch=null pad_to_sequence_len=false plugins=[tunebook.plugins.Thinking]"


def row(number: int) -> Any:
    """Return a conversation of two answers with reasoning, or of one without."""
    turns: list[dict[str, Any]] = []
    for step in (1, 2) if number % 2 else (1,):
        turns.append({"role": "user", "content": f"What is {number} times {step}?"})
        answer = {"role": "assistant", "content": f"It is {number * step}."}
        turns.append(
            {**answer, "reasoning_content": f"Add {number}, {step} times."} if number % 2 else answer
        )
    gold = {"answer": turns[-1]["content"], "member": "Ada"}
    return {"id": f"r{number}", "group": f"g{number}", "messages": turns, "gold": gold}


def base(folder: Path) -> Path:
    import torch

    family_tokenizer("qwen3", folder, small=True)
    tokenizer = in_memory("qwen3", small=True)
    torch.manual_seed(0)
    ends = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("eos", "pad")}
    tiny.model(vocab_size=len(tokenizer), **ends).save_pretrained(folder)
    return folder


def prepare(thinking: str, folder: Path) -> Run:
    recipe = recipes.load_recipe("chat-lora")
    dataset = load_dataset_config("kettlewick-chat").model_copy(update={"rules": {}})
    options = Options("real", "cpu", set=f"{SMALL} thinking={thinking}", model="Qwen/Qwen3-1.7B")
    resolved = resolve(recipe, options)
    resolved.config["base_model"] = str(base(folder / "base"))
    resolved.config["datasets"] = [{**resolved.config["datasets"][0], "message_field_training": "weight"}]
    resolved.config.pop("test_datasets")
    settings = suite.load_suite(recipe, dataset.task, "real", "default", "", thinking)  # type: ignore[arg-type]
    small = {"max_new_tokens": 8, "agreement_rows": 0}
    settings = settings.model_copy(update={**small, "retention": {}})
    run = Run(folder / thinking)
    rows = {"train": [one for n in range(6) for one in each_answer(row(n))]}
    rows |= {"dev": [row(n) for n in (6, 7)], "test": [row(n) for n in (8, 9)]}
    for split, some in rows.items():
        kept = [without_reasoning(one) for one in some] if thinking == "off" else some
        write_jsonl(run / "data" / f"{split}.jsonl", kept)
    write_inputs(run, resolved, dataset, settings, "")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("thinking")
    runs = {thinking: prepare(thinking, folder) for thinking in SETTINGS}
    train(runs.values(), {})
    return runs


@pytest.mark.parametrize("thinking", SETTINGS)
def test_a_run_compares_what_it_learns_and_records_the_setting(
    thinking: str, trained: dict[str, Run]
) -> None:
    run = trained[thinking]
    supervised = read_json(run / "train" / "supervised.json")
    assert (supervised["compared"], supervised["differ"]) == (9, 0), supervised
    config = run.config()
    assert config["thinking"] == thinking
    assert config["chat_template_kwargs"] == {"enable_thinking": thinking != "off"}


def test_the_settings_learn_other_tokens(trained: dict[str, Run]) -> None:
    """Of the same rows: with the reasoning most, the same answers under mask and off."""
    counts = {
        name: read_json(run / "train" / "history.json")["trained_tokens"] for name, run in trained.items()
    }
    assert counts["keep"] > counts["mask"]


@pytest.mark.parametrize("thinking", SETTINGS)
def test_reasoning_is_stripped_before_an_answer_is_scored(thinking: str, trained: dict[str, Run]) -> None:
    evaluator = evaluators.Evaluator.of_run(trained[thinking])
    tokenizer, rows = evaluator.models.tokenizer, evaluator.inputs.ask("test")
    said = ["<think>\nHm.\n</think>\n\nIt is 8.", "<think>\nHm. Add"]
    results: Any = [
        {"tokens": tokenizer(text, add_special_tokens=False)["input_ids"], "stopped": True} for text in said
    ]
    one, two = evaluator.generated(rows, results)
    assert (one["answer"], one["reasoning"], one["unfinished"]) == ("It is 8.", "Hm.", False)
    assert (two["answer"], two["reasoning"], two["unfinished"]) == ("", "Hm. Add", True)
    assert one["chrf"] > 0.9 and two["chrf"] < 0.1


@pytest.mark.parametrize("thinking", SETTINGS)
def test_prompts_and_losses_follow_the_setting(thinking: str, trained: dict[str, Run]) -> None:
    evaluator = evaluators.Evaluator.of_run(trained[thinking])
    decode = evaluator.models.tokenizer.decode
    rows = evaluator.rows["test"]
    job = evaluator.maker.answer(TUNED, "test", evaluator.inputs.ask("test"))
    ends = "<|im_start|>assistant\n" + ("<think>\n\n</think>\n\n" if thinking == "off" else "")
    assert all(decode(context).endswith(ends) for context in job.contexts)
    scored = evaluator.maker.score(TUNED, "test", rows)
    texts = [
        decode(answer[start:end])
        for answer, spans in zip(scored.answers, scored.spans, strict=True)
        for start, end in spans
    ]
    thoughts = [
        f"<think>\nAdd 9, {step} times.\n</think>\n\n" if thinking == "keep" else "" for step in (1, 2)
    ]
    assert texts == ["It is 8.", f"{thoughts[0]}It is 9.", f"{thoughts[1]}It is 18."]
    records = evaluator.evaluate(TUNED, "test")
    assert all(math.isfinite(record["loss"]) for record in records)
    measured = measure(records, "chat", [])
    assert 0 <= (measured["unfinished_rate"]["value"] or 0) <= 1


@pytest.mark.parametrize("thinking", SETTINGS)
def test_retention_is_asked_with_thinking_on(thinking: str, trained: dict[str, Run]) -> None:
    evaluator = evaluators.Evaluator.of_run(trained[thinking])
    whole = suite.load_suite(recipes.load_recipe("chat-lora"), "chat", "trial", "full", "", thinking)  # type: ignore[arg-type]
    task = whole.retention["instructions_thinking"]
    evaluator.suite.retention = {"instructions_thinking": task.model_copy(update={"limit": 2})}
    assert effects.not_measured(evaluator) == {}
    effects.measure_side_effects(evaluator, "base")
    (path,) = (evaluator.run / "eval" / "answers").glob("base.retention-*.jsonl")
    assert [value["value"] for value in read_jsonl(path)] == [0.0, 0.0], "a random model does not reason"
