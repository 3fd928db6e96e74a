"""From answers to metrics.json, against scikit-learn and a hand-made run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import BASELINE, CONTENDERS, make_run
from tunebook.core.files import read_json, write_jsonl
from tunebook.evaluation.suite import Suite
from tunebook.report import names
from tunebook.report.light import outcome
from tunebook.report.verdict import apply_gates, compare
from tunebook.runs.run import Run

KEYS = set(
    "schema recipe tier seed split rows groups primary model dataset hardware trained_tokens steps "
    "contenders dev baseline comparisons retention token_agreement_unmerged_merged gates verdict "
    "changed_weights sentence seconds peak_memory_gib peak_memory_by_stage_gib style checkpoints "
    "interruptions latency light train_rows given_rows rows_sha256 details confusion per_class turns".split()
)


@pytest.mark.parametrize(
    ("metric", "difference", "p", "expected"),
    [
        ("accuracy", 0.1, 0.01, "better"),
        ("accuracy", -0.1, 0.01, "worse"),
        ("loss", -0.1, 0.01, "better"),
        ("loss", 0.1, 0.01, "worse"),
        ("invalid_rate", 0.1, 0.01, "worse"),
        ("accuracy", 0.1, 0.05, "no difference shown"),
        ("accuracy", -0.1, 0.6, "no difference shown"),
        ("loss", -0.1, None, "no difference shown"),
        ("accuracy", 0.0, 0.01, "no difference shown"),
    ],
)
def test_word(metric: str, difference: float, p: float | None, expected: str) -> None:
    assert outcome({"metric": metric, "difference": difference, "p": p}) == expected


def gate(bounds: dict[str, Any], value: float | None) -> dict[str, Any]:
    """Return the outcome of a gate called `it` on a tuned model that measured `value`."""
    sizes = {"shots": 0, "max_new_tokens": 1, "dev_rows": 1, "agreement_rows": 0}
    suite = Suite(primary="accuracy", generate_rows=None, gates={"it": bounds}, **sizes)
    (found,) = apply_gates(suite, {"tuned": {"it": {"value": value}}, "svm": {}}, [], None)
    return found


@pytest.mark.parametrize(
    ("bounds", "value", "passed"),
    [
        ({"at_least": 0.8}, 0.8, True),
        ({"at_least": 0.8}, 0.79, False),
        ({"at_least": 0.0}, -0.1, False),
        ({"at_most": 0.05}, 0.05, True),
        ({"at_most": 0.05}, 0.06, False),
        ({"at_most": 0.0}, 0.0, True),
        ({"at_least": 0.2, "at_most": 0.4}, 0.3, True),
        ({"at_least": 0.2, "at_most": 0.4}, 0.5, False),
        ({"at_least": 0.8}, None, None),
        ({"at_most": 0.8, "contender": "svm"}, 0.5, None),
    ],
)
def test_gates(bounds: dict[str, Any], value: float | None, passed: bool | None) -> None:
    found = gate(bounds, value)
    assert found["passed"] is passed
    assert found["value"] == (None if passed is None else value)


@pytest.mark.parametrize(
    ("base", "value", "passed"),
    [(2.0, 2.1, True), (2.0, 2.11, False), (None, 1.0, None), (0.0, 1.0, None), (2.0, None, None)],
)
def test_a_gate_may_bound_how_many_times_the_base_it_is(
    base: float | None, value: float | None, passed: bool | None
) -> None:
    sizes = {"shots": 0, "max_new_tokens": 1, "dev_rows": 1, "agreement_rows": 0}
    bounds = {"times": "base_generate_0", "at_most": 1.05}
    suite = Suite(primary="loss", generate_rows=None, gates={"loss": bounds}, **sizes)
    measured = {"tuned": {"loss": {"value": value}}, "base_generate_0": {"loss": {"value": base}}}
    (found,) = apply_gates(suite, measured, [], None)
    assert found["passed"] is passed
    assert found["value"] == (None if passed is None else pytest.approx(value / base))


def test_margins_are_gates_on_the_upper_end() -> None:
    suite = Suite(
        primary="accuracy", shots=0, max_new_tokens=1, dev_rows=1, agreement_rows=0, generate_rows=None
    )
    lost = {"task": "sums", "high": 0.3, "margin": 0.25, "passed": False}
    kept = {"condition": "paraphrased", "high": 0.1, "margin": 0.25, "passed": True}
    free = {"condition": "no_system", "high": 0.9, "margin": None, "passed": None}
    found = apply_gates(suite, {"tuned": {}}, [lost], {"conditions": [kept, free]})
    assert found == [
        {"name": "retention_sums", "value": 0.3, "bound": 0.25, "passed": False},
        {"name": "style_paraphrased", "value": 0.1, "bound": 0.25, "passed": True},
    ]


@pytest.mark.parametrize("task", CONTENDERS)
def test_metrics_json_has_the_documented_form(task: str, handmade: Callable[..., Run]) -> None:
    run = handmade(task)
    text = (run / "metrics.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(found) == KEYS
    assert (found["tier"], found["split"], found["rows"], found["groups"]) == ("trial", "test", 20, 10)
    assert list(found["contenders"]) == CONTENDERS[task]
    metrics = {
        "classification": "accuracy balanced_accuracy macro_f1 invalid_rate stop_rate ece_10 ece_15",
        "qa": "f1 em has_answer_f1 has_answer_em no_answer_em stop_rate",
        "chat": "loss byte_perplexity chrf rouge_l rules calls stop_rate length_ratio",
        "preference": "preference preference_per_byte reward_accuracy reward loss byte_perplexity chrf "
        "rouge_l rules stop_rate length_ratio",
    }[task]
    for measures in found["contenders"].values():
        assert set(measures) == set(metrics.split())
        for measure in measures.values():
            assert set(measure) == {"value", "n", "groups", "low", "high", "higher_is_better"}
    for comparison in found["comparisons"]:
        assert set(comparison) == set(
            "metric a b difference low high p p_holm test detectable n groups".split()
        )
        assert comparison["a"] == "tuned"
    others = {c["b"] for c in found["comparisons"] if c["metric"] == found["primary"]}
    assert others == set(CONTENDERS[task]) - {"tuned"}
    (general,) = found["retention"]
    assert set(general) == set(
        "task kind items base tuned chance drop low high margin takes_part passed".split()
    )
    assert all(set(item) == {"name", "value", "bound", "passed"} for item in found["gates"])
    assert found["dev"]["rows"] == 4
    assert set(found["dev"]["tried"]) == {name for name in CONTENDERS[task] if name.startswith("base")}
    assert found["seconds"] == dict.fromkeys(("check", "data", "train", "evaluate"), 1.5)
    assert found["peak_memory_gib"] == 2.5


def test_label_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade() / "metrics.json")
    value = {name: {m: x["value"] for m, x in of.items()} for name, of in found["contenders"].items()}
    # tests/support/helpers.py: row 0 of 20 is invalid and row 3 does not stop.
    assert value["tuned"]["accuracy"] == pytest.approx(19 / 20)
    assert value["tuned"]["invalid_rate"] == pytest.approx(1 / 20)
    assert value["tuned"]["stop_rate"] == pytest.approx(19 / 20)
    assert value["base_rank_k"]["accuracy"] == pytest.approx(5 / 20)
    assert value["base_generate_0"]["invalid_rate"] == pytest.approx(16 / 20)
    # Nothing is generated for ranked labels and the linear classifier: not measured, rather than 0.
    for name in ("base_rank_k", "svm"):
        assert value[name]["invalid_rate"] is value[name]["stop_rate"] is None
    main = next(c for c in found["comparisons"] if c["b"] == "base_rank_k" and c["metric"] == "accuracy")
    assert main["difference"] == pytest.approx(19 / 20 - 5 / 20)
    assert main["low"] < main["difference"] < main["high"]
    assert found["verdict"] == "better"
    passed = {item["name"]: item["passed"] for item in found["gates"]}
    assert passed == {"invalid_rate": False, "retention_general": True}


def test_answer_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade("qa") / "metrics.json")
    tuned = {name: measure["value"] for name, measure in found["contenders"]["tuned"].items()}
    # helpers.make_run: 4 of 20 without an answer; of the others 8 right, 7 with a word too many, 1 wrong.
    assert tuned["em"] == pytest.approx((4 + 8) / 20)
    assert tuned["f1"] == pytest.approx((4 + 8 + 7 * 0.8) / 20)
    assert tuned["has_answer_em"] == pytest.approx(8 / 16)
    assert tuned["no_answer_em"] == 1
    assert [found["contenders"]["tuned"][name]["n"] for name in ("has_answer_f1", "no_answer_em")] == [16, 4]
    assert found["verdict"] == "better"


def test_chat_numbers_are_those_of_the_answers(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade("chat") / "metrics.json")
    assert found["verdict"] == "better", "a lower loss is better"
    main = next(c for c in found["comparisons"] if c["b"] == found["baseline"] and c["metric"] == "loss")
    assert main["difference"] == pytest.approx(-1 - (len("base_generate_k") - len("tuned")) / 1000)
    tuned = found["contenders"]["tuned"]
    assert (tuned["loss"]["n"], tuned["chrf"]["n"]) == (20, 10), "half of the answers are generated"
    assert tuned["stop_rate"]["value"] == 1
    assert not [c for c in found["comparisons"] if c["metric"] in ("length_ratio", "byte_perplexity")]
    assert found["retention"][0]["drop"] == pytest.approx(1.12 / 1.02 - 1)


@pytest.mark.parametrize("task", CONTENDERS)
def test_the_sentence_names_everybody_and_the_tier(task: str, handmade: Callable[..., Run]) -> None:
    said = read_json(handmade(task) / "metrics.json")["sentence"]
    assert "trial tier" in said
    assert "20 test examples" in said
    titles = [names.contender(name, shots=1) for name in CONTENDERS[task] if name != BASELINE[task]]
    assert all(title in said for title in titles)
    assert f"with the best prompt of the base ({names.prompting(BASELINE[task], 1)})" in said
    assert "better (lower is better" in said if task == "chat" else "better (higher is better" in said
    assert ("Failed gates: invalid answers" in said) == (task == "classification")


def test_without_retention_it_has_no_gate(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade(retention=False) / "metrics.json")
    assert found["retention"] == []
    assert [gate["name"] for gate in found["gates"]] == ["invalid_rate"]


def test_the_primary_comparison_is_not_corrected_and_all_others_are(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade() / "metrics.json")
    main = [c for c in found["comparisons"] if (c["metric"], c["b"]) == ("accuracy", found["baseline"])]
    others = [c for c in found["comparisons"] if c not in main and c["p"] is not None]
    assert [c["p_holm"] for c in main] == [None]
    assert len(others) > 5
    smallest = min(others, key=lambda c: c["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, smallest["p"] * len(others)))
    assert all(c["p"] <= c["p_holm"] <= 1 for c in others)


def test_a_correction_can_take_a_verdict_on_another_contender_back() -> None:
    other = {"metric": "accuracy", "difference": 0.1, "p": 0.03}
    assert outcome({**other, "p_holm": None}) == "better"
    assert outcome({**other, "p_holm": 0.06}) == "no difference shown"


def test_no_difference_shown_says_what_could_have_been(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run / "eval" / "answers" / "tuned.test.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    base = [json.loads(line) for line in path.with_name("base_rank_k.test.jsonl").read_text().splitlines()]
    for record, other in list(zip(records, base, strict=True))[4:]:
        record["label"] = other["label"]  # the tuned model answers as the baseline does, but for four rows
    write_jsonl(path, records)
    compare(run)
    found = read_json(run / "metrics.json")
    main = next(c for c in found["comparisons"] if (c["metric"], c["b"]) == ("accuracy", "base_rank_k"))
    assert found["verdict"] == "no difference shown"
    can, seen = main["detectable"] * 100, abs(main["difference"]) * 100
    assert can > seen
    said = f"{seen:.1f} points higher, and 20 examples can show {can:.1f} points"
    assert said in found["sentence"]


def test_details_of_each_contender(handmade: Callable[..., Run]) -> None:
    found = read_json(handmade() / "metrics.json")
    made = {name: entry["made"] for name, entry in found["details"].items()}
    assert made == {
        "base_generate_0": "generated",
        "base_rank_k": "ranked",
        "tuned": "generated",
        "svm": "classified",
    }
    assert sum(line["n"] for line in found["details"]["base_rank_k"]["calibration"]) == 20
    assert [line["n"] for line in found["per_class"]] == [7, 7, 6]
    # Row 0 of 20 is an acorn and is answered with a script.
    assert found["confusion"]["matrix"] == [[6, 0, 0, 1], [0, 7, 0, 0], [0, 0, 6, 0]]


def test_details_of_chat(handmade: Callable[..., Run]) -> None:
    chat = read_json(handmade("chat") / "metrics.json")
    assert chat["confusion"] is chat["per_class"] is None
    assert chat["details"]["tuned"]["rules"]["short"]["n"] == 10


def test_too_few_groups_show_no_difference(tmp_path: Path) -> None:
    run = make_run(tmp_path, groups=2)
    compare(run)
    found = read_json(run / "metrics.json")
    assert found["verdict"] == "no difference shown"
    assert found["contenders"]["tuned"]["accuracy"]["low"] is None
