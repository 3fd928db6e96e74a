"""The comparison with lm-evaluation-harness asks both sides the same, and its committed result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support.helpers import LABELS, make_run
from tests.support.lazy import lazy
from tunebook.core.files import read_json, read_jsonl
from tunebook.evaluation.jobs import Job
from tunebook.runs.run import Run

harness_time = lazy("benchmarks.harness_time")

WORDS = {1: "<user>", 2: " tree?", 3: "<answer>", 4: "acorn", 5: "beech", 6: "cedar", 7: "<end>"}


def evaluation(run: Run, **config: Any) -> Any:
    tokenizer = SimpleNamespace(decode=lambda ids: "".join(WORDS[id] for id in ids), eos_token="<end>")
    models = SimpleNamespace(
        tokenizer=tokenizer, config={"base_model": "base", **config}, dtype="torch.bfloat16"
    )
    models.attention, models.quantised = "eager", bool(config.get("load_in_4bit"))
    dataset = SimpleNamespace(labels=LABELS, baseline_prompt=None)
    rows = {"test": read_jsonl(run / "data" / "test.jsonl")}
    inputs = SimpleNamespace(config=models.config, dataset=dataset, rows=rows)
    return SimpleNamespace(run=run, models=models, dataset=dataset, rows=rows, inputs=inputs)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = make_run(tmp_path / "run")
    (made / "model").mkdir()
    (made / "config.yaml").write_text("{}")
    (made / "data" / "dev.jsonl").write_text("")
    return harness_time.copy(made, 3, tmp_path / "copy")


def test_a_copy_has_the_asked_rows_and_no_answers(run: Run) -> None:
    assert [row["id"] for row in read_jsonl(run / "data" / "test.jsonl")] == ["r0", "r1", "r2"]
    assert not (run / "eval" / "answers").exists()
    names = [contender.name for contender in harness_time.contenders(evaluation(run))]
    assert names == ["base_generate_0", "base_rank_k", "tuned"]


def test_tasks_hold_the_very_prompts(run: Run, tmp_path: Path) -> None:
    ids, contexts = ["r0", "r1", "r2"], [[1, 2, 3]] * 3
    asked = evaluation(run)
    ranked = Job("base_rank_k", "test", "rank", ids, contexts, choices=[[4, 7], [5, 7], [6, 7]])
    harness_time.write_task(ranked, asked, tmp_path)
    task = yaml.safe_load((tmp_path / "base_rank_k.yaml").read_text())
    assert task["doc_to_choice"] == ["acorn<end>", "beech<end>", "cedar<end>"]
    rows = read_jsonl(Path(task["dataset_kwargs"]["data_files"]["test"]))
    assert rows[1] == {"context": "<user> tree?<answer>", "answer": "beech", "number": 1}
    harness_time.write_task(Job("tuned", "test", "generate", ids, contexts, max_new=16), asked, tmp_path)
    task = yaml.safe_load((tmp_path / "tuned.yaml").read_text())
    assert task["generation_kwargs"] == {"until": ["<end>"], "max_gen_toks": 16, "do_sample": False}


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("base", {"adapter": "lora"}, "pretrained=base,"),
        ("tuned", {"adapter": "lora"}, ",peft="),
        ("tuned", {"adapter": "qlora", "load_in_4bit": True}, ",load_in_4bit=True"),
        ("tuned", {}, "/model,tokenizer="),
    ],
)
def test_the_same_weights_and_type(name: str, config: dict[str, Any], said: str, run: Run) -> None:
    evaluator = evaluation(run, **config)
    found = harness_time.model_arguments(name, evaluator, evaluator.models)
    assert said in found and ",dtype=bfloat16,attn_implementation=eager" in found


def test_the_committed_result() -> None:
    if not harness_time.TARGET.is_file():
        pytest.skip("not measured yet")
    found = read_json(harness_time.TARGET)
    ratio = found["tunebook"]["seconds"] / found["lm_eval"]["seconds"]
    assert found["ratio"] == pytest.approx(ratio, abs=0.001)
    assert found["ratio"] <= found["bar"] == harness_time.BAR
    assert set(found["versions"]) == set(harness_time.PACKAGES)
    assert set(found["equal_answers"]) == set(found["lm_eval_each"])
