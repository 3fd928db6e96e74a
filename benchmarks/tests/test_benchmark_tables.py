"""The tables that benchmarks/ writes into docs/, from handmade numbers and from the committed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    export_parity,
    forgetting,
    forks_to_verdict,
    methods,
    preemption_drill,
    rehearsal,
    serve_load,
)
from tests.support.lazy import lazy
from tunebook.core.files import read_json
from tunebook.evaluation.engines.protocol import Generation
from tunebook.report.markdown_blocks import block

torch, safetensors = lazy("torch"), lazy("safetensors.torch")
harness_time, vllm_parity = lazy("benchmarks.harness_time"), lazy("benchmarks.vllm_parity")


def variant(passed: bool) -> dict[str, Any]:
    general = {"task": "general", "base": 1.0, "tuned": 1.1, "high": 0.2 if passed else 0.7, "margin": 0.25}
    sums = {"task": "sums", "base": 0.2, "tuned": 0.2, "high": 0.1, "margin": 0.15, "takes_part": False}
    other = {"condition": "other_task", "reference": 0.8, "value": 0.1, "high": 0.9, "margin": None}
    return {
        "primary": "accuracy",
        "tuned": {"value": 0.8},
        "retention": [{**general, "takes_part": True, "passed": passed}, {**sums, "passed": None}],
        "style": {"conditions": [{**other, "passed": None}]},
        "exit": 0 if passed else 3,
        "day": "2026-11-28",
    }


def test_the_table_of_forgetting_says_which_gate_fails() -> None:
    found = {"runs": {"shipped": variant(True), "over-trained": variant(False)}}
    assert forgetting.table(found, ["shipped", "over-trained"]).splitlines() == [
        "| | shipped | over-trained |",
        "|---|---|---|",
        "| measured | 2026-11-28 | 2026-11-28 |",
        "| score | accuracy 80.0 % | accuracy 80.0 % |",
        "| retention: general, at most 0.25 | 1.00 to 1.10: +0.20 | 1.00 to 1.10: +0.70, **fails** |",
        "| retention: sums, at most 0.15 | 0.20 to 0.20: +0.10, at chance | 0.20 to 0.20: +0.10, at chance |",
        "| style: other_task, no gate | 0.80 to 0.10: +0.90 | 0.80 to 0.10: +0.90 |",
        "| exit code | 0 | 3 |",
    ]


def test_what_is_planted_is_more_of_what_the_recipe_ships() -> None:
    recipe = forgetting.recipes.load_recipe("classify-lora")
    rate = float(recipe.trial["learning_rate"])
    assert f"learning_rate={rate * forgetting.RATE:g} " in forgetting.over_trained(recipe)


def test_saved_weights_are_counted_from_headers(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(3, 5), "b": torch.zeros(7, dtype=torch.bfloat16)}
    safetensors.save_file(weights, tmp_path / "x.safetensors")
    assert methods.saved_weights([tmp_path / "x.safetensors"]) == 22


def test_the_lowest_rate_within_one_standard_error_is_chosen() -> None:
    # 65 rows, 35 of them right: an error of 6.2 points.
    tried = {rate: {"value": right / 65, "n": 65} for rate, right in (("1", 30), ("2", 34), ("3", 35))}
    assert methods.choose(tried) == "2"
    assert methods.choose({"1": {"value": 0.0, "n": 65}, "2": {"value": 0.0, "n": 65}}) == "1"


def test_the_table_of_methods_is_sorted_and_names_further_seeds() -> None:
    def run(value: float, passed: bool = True) -> dict[str, Any]:
        accuracy = {"value": value, "low": value - 0.05, "high": value + 0.05}
        rest = {"weights": 1000, "megabytes": 0.1, "train_seconds": 10.0, "peak_memory_gib": 2.0}
        rest |= {"latency": 0.25, "rate": "0.001"}
        return {
            "accuracy": accuracy,
            "beside": {"a linear SVM": accuracy},
            "retention": [{"drop": 0.1}],
            "gates": {"retention_general": passed},
            **rest,
        }

    found = {
        "runs": {"classify-ia3": {"42": run(0.6, False)}, "classify-lora": {"42": run(0.8), "1": run(0.7)}},
    }
    lines = methods.table(found).splitlines()[2:]
    assert "| 250 ms |" in lines[0]
    assert "[lora]" in lines[0] and "80.0 % (75.0 % to 85.0 %); 70.0 %" in lines[0]
    assert "[ia3]" in lines[1] and "+10 % (gate fails)" in lines[1]
    assert lines[2].startswith("| a linear SVM | - | 60.0 %") and len(lines) == 3
    assert {line.count("|") for line in lines} == {10}
    assert "<svg" in methods.picture(found)


def test_the_rates_that_were_tried() -> None:
    dev = {"0.01": {"value": 0.1}, "0.1": {"value": 0.4}}
    tried = {"classify-ia3": {"dev": dev, "retention": {"0.1": 1.516, "0.01": 0.17}}}
    tried["classify-head"] = {"dev": dev, "retention": {"0.1": None}}
    lines = methods.rates_tried({"sweeps": tried}).splitlines()[2:]
    assert lines[0] == "| ia3 | 0.01: 10 %, 0.1: 40 % | 0.1: at most +152 %, 0.01: at most +17 % |"
    assert lines[1] == "| head | 0.01: 10 %, 0.1: 40 % | 0.1: not measured |"


BLOCKS = [(forgetting, "measured"), (methods, "methods"), (harness_time, "harness-time")]
BLOCKS += [
    (preemption_drill, "drill"),
    (forks_to_verdict, "forks"),
    (export_parity, "parity"),
    (serve_load, "serve-load"),
]


@pytest.mark.parametrize(("bench", "name"), BLOCKS)
def test_the_docs_show_the_committed_numbers(bench: Any, name: str) -> None:
    if not bench.TARGET.is_file():
        pytest.skip(f"{bench.TARGET.name}: not measured yet")
    found = read_json(bench.TARGET)
    assert block(bench.DOC.read_text(encoding="utf-8"), name).strip() == bench.table(found)


def test_the_docs_show_the_committed_sweeps() -> None:
    text = methods.DOC.read_text(encoding="utf-8")
    assert block(text, "rates").strip() == methods.rates_tried(read_json(methods.TARGET))
    assert block(text, "lengths").strip() == methods.lengths_tried()


def test_answers_of_two_engines_are_compared_by_where_they_part() -> None:
    def answers(*ids: list[int]) -> list[Generation]:
        return [Generation(each, True) for each in ids]

    one = answers([1, 2], [1, 2, 3], list(range(20)), [5])
    other = answers([1, 2], [1, 2], [*range(10), 99], [6])
    assert vllm_parity.compared(one, other) == {
        "same": 0.25,
        "same_start": 0.5,
        "first_difference_at_token": [0, 2, 10],
    }


def test_a_line_of_the_load() -> None:
    found = serve_load.line("transformers", 4, 10.0, [1.0] * 9 + [3.0])
    assert (found["answers_per_second"], found["median"]) == (1.0, 1.0) and found["p90"] > 1


def test_the_docs_show_the_committed_rehearsal() -> None:
    found = read_json(rehearsal.TARGET)
    shown = rehearsal.text(found)
    assert found["status"] == "passed"
    for line in (*found["exercised"], *found["not_exercised"], found["price"]):
        assert line in " ".join(shown.split())
    assert block(rehearsal.DOC.read_text(), "rehearsal").rstrip() == shown
