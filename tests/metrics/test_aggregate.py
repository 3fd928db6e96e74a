"""Every metric of a contender against scikit-learn, rouge_score or a count by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom, binomtest

from tests.support.lazy import lazy
from tunebook.metrics.aggregate import (
    balanced_accuracy,
    confusion,
    details,
    difference,
    label_parts,
    measure,
    per_class,
)
from tunebook.metrics.aggregate import macro_f1 as macro_f1_of_sums
from tunebook.metrics.scoring import rouge_l

sk, calibration = lazy("sklearn.metrics"), lazy("sklearn.calibration")
rouge_scorer = lazy("rouge_score.rouge_scorer")
LABELS = ["ash", "birch", "cedar", "dogwood"]


def answered(seed: int, rows: int = 80, ranked: bool = False) -> list[dict[str, Any]]:
    """Return answers of two rows a group; `dogwood` is rare, and one in seven answers names no label."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(rows):
        gold = LABELS[int(rng.choice(4, p=[0.4, 0.3, 0.25, 0.05]))]
        record: dict[str, Any] = {"id": f"r{index}", "group": f"g{index // 2}", "gold": gold}
        if ranked:
            scores = rng.normal(-20, 2, 4)
            scores[LABELS.index(gold)] += 2
            records.append({**record, "scores": scores.tolist(), "label": LABELS[int(scores.argmax())]})
        else:
            said = (
                None if rng.random() < 1 / 7 else LABELS[int(rng.integers(4))] if rng.random() < 0.5 else gold
            )
            records.append({**record, "label": said, "stopped": bool(rng.random() < 0.9)})
    return records


def golds_and_answers(records: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    return [r["gold"] for r in records], [r["label"] or "no label" for r in records]


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_label_metrics_are_scikit_learns(seed: int, ranked: bool) -> None:
    records = answered(seed, ranked=ranked)
    gold, said = golds_and_answers(records)
    found = {name: entry["value"] for name, entry in measure(records, "classification", LABELS).items()}
    there = sorted(set(gold) | (set(said) - {"no label"}))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(gold, said))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(gold, said))
    expected = sk.f1_score(gold, said, labels=there, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    if not ranked:
        assert found["invalid_rate"] == pytest.approx(said.count("no label") / 80)


@pytest.mark.parametrize("seed", range(5))
def test_the_tables_are_scikit_learns(seed: int) -> None:
    records = answered(seed, rows=30)
    gold, said = golds_and_answers(records)
    table = confusion(records, LABELS)
    assert table["answers"] == [*LABELS, "no label"]
    everything = sk.confusion_matrix(gold, said, labels=[*LABELS, "no label"])
    assert table["matrix"] == everything[:4].tolist()
    expected = sk.precision_recall_fscore_support(gold, said, labels=LABELS, zero_division=0)
    found = per_class(np.array(table["matrix"]), LABELS)
    for name, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [line[name] for line in found] == pytest.approx(list(values)), name
    assert [line["label"] for line in found] == LABELS


def test_macro_f1_and_balanced_accuracy_at_their_ends() -> None:
    gold = np.array([0, 1, 1, 2])

    def both(said: list[int], count: int) -> tuple[float, float]:
        sums = label_parts(gold, np.array(said), count).sum(axis=0)
        return float(macro_f1_of_sums(sums)), float(balanced_accuracy(sums))

    assert both([0, 1, 1, 2], 5) == (1, 1)
    assert both([-1] * 4, 5) == (0, 0)
    # Half of label 1 found, nothing else said: F1 is 1, 2/3 and 1, recall 1, 1/2 and 1.
    assert both([0, 1, -1, 2], 3) == pytest.approx(((1 + 2 / 3 + 1) / 3, 2.5 / 3))


@pytest.mark.parametrize("bins", [10, 15])
@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_scikit_learns_curve(seed: int, bins: int) -> None:
    records = answered(seed, rows=300, ranked=True)
    confidence = softmax([r["scores"] for r in records], axis=1).max(axis=1)
    hits = np.array([r["label"] == r["gold"] for r in records], dtype=float)
    right, sure = calibration.calibration_curve(hits, confidence, n_bins=bins)
    counts = np.histogram(confidence, np.linspace(0, 1, bins + 1))[0]
    expected = float((np.abs(right - sure) * counts[counts > 0]).sum() / 300)
    found = measure(records, "classification", LABELS)[f"ece_{bins}"]
    assert found["value"] == pytest.approx(expected)
    assert found["low"] <= found["value"]
    if bins == 10:
        table = [line for line in details(records)["calibration"] if line["n"]]
        assert [line["n"] for line in table] == counts[counts > 0].tolist()
        assert [line["accuracy"] for line in table] == pytest.approx(right)
        assert [line["confidence"] for line in table] == pytest.approx(sure)


def test_a_model_that_is_always_sure_and_half_right() -> None:
    labels = ["ash", "birch"]
    records = [
        {"id": f"r{i}", "group": f"r{i}", "gold": labels[i % 2], "label": "ash", "scores": [0.0, -800.0]}
        for i in range(40)
    ]
    assert measure(records, "classification", labels)["ece_15"]["value"] == pytest.approx(0.5)


def test_each_number_says_how_its_answers_were_made() -> None:
    ranked, generated = answered(0, ranked=True), answered(0)
    classified = [{k: v for k, v in record.items() if k != "stopped"} for record in generated]
    assert [details(records)["made"] for records in (ranked, generated, classified)] == [
        "ranked",
        "generated",
        "classified",
    ]
    assert details(generated)["calibration"] is details(generated)["rules"] is None
    for name in ("invalid_rate", "stop_rate"):
        assert measure(ranked, "classification", LABELS)[name]["value"] is None
    assert measure(generated, "classification", LABELS)["ece_10"] == {
        **dict.fromkeys(("value", "low", "high")),
        "n": 0,
        "groups": 0,
        "higher_is_better": False,
    }


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The kettle is on.", "The kettle is on."),
        ("the cattle, the pond", "The pond is where the cattle are."),
        ("on is kettle the", "The kettle is on."),
        ("caf\u00e9 au lait", "Caf\u00e9 noir"),
        ("", "Yes."),
        ("...", "Yes."),
        ("a a a b", "a b a a b b"),
    ],
)
def test_rouge_l_is_rouge_scores(answer: str, reference: str) -> None:
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert rouge_l(answer, reference) == pytest.approx(expected)


def chat(tuned: bool) -> list[dict[str, Any]]:
    """Return 20 conversations; answers to every second one."""
    records = []
    for index in range(20):
        record: dict[str, Any] = {"id": f"r{index}", "group": f"g{index}", "loss": 1.0 + index / 10 - tuned}
        if index % 2 == 0:
            met = {"short": tuned or index % 4 == 0}
            met |= {"clock": index == 0} if index < 6 else {}
            record |= {"gold": "The kettle is on.", "answer": "The kettle is off.", "stopped": True}
            record |= {"chrf": 0.5, "rules": 0.5, "rules_met": met, "length_ratio": 1.0}
        records.append(record)
    return records


def test_chat_metrics() -> None:
    found = measure(chat(False), "chat", [])
    bits = found["loss"]["value"]
    assert bits == pytest.approx(1.95)
    # The inverse of the geometric mean of the probability of a byte.
    chances = [2.0 ** -(1.0 + index / 10) for index in range(20)]
    assert found["byte_perplexity"]["value"] == pytest.approx(1 / np.exp(np.mean(np.log(chances))))
    assert found["byte_perplexity"]["low"] == pytest.approx(2 ** found["loss"]["low"])
    assert found["rouge_l"]["value"] == pytest.approx(0.75)
    assert (found["loss"]["n"], found["rouge_l"]["n"]) == (20, 10)


def test_each_rule_counts_the_rows_it_applies_to() -> None:
    rules = details(chat(False))["rules"]
    assert (rules["short"]["value"], rules["short"]["n"]) == (0.5, 10)
    assert (rules["clock"]["value"], rules["clock"]["n"]) == (pytest.approx(1 / 3), 3)
    assert rules["clock"]["low"] < 1 / 3 < rules["clock"]["high"]


def test_a_difference_is_that_of_the_values() -> None:
    answers = {"a": answered(1), "b": [{**r, "label": r["gold"]} for r in answered(1)]}
    values = {name: measure(records, "classification", LABELS) for name, records in answers.items()}
    for metric in ("accuracy", "macro_f1", "balanced_accuracy", "invalid_rate", "stop_rate"):
        found = difference(metric, "a", "b", answers, LABELS)
        assert found is not None
        gap = values["a"][metric]["value"] - values["b"][metric]["value"]
        assert found["difference"] == pytest.approx(gap)
        assert found["low"] <= gap <= found["high"]
        assert found["test"] == "permutation"
    assert difference("ece_10", "a", "b", answers, LABELS) is None


def test_the_test_of_independent_rows_is_mcnemars() -> None:
    answers = {"a": answered(2), "b": answered(3)}
    for records in answers.values():
        for index, (record, gold) in enumerate(zip(records, answers["a"], strict=True)):
            record |= {"group": f"r{index}", "gold": gold["gold"]}
    found = difference("accuracy", "a", "b", answers, LABELS)
    swapped = difference("macro_f1", "a", "b", answers, LABELS)
    assert found is not None and swapped is not None
    assert (found["test"], swapped["test"]) == ("mcnemar_midp", "permutation")
    hits = {name: [r["label"] == r["gold"] for r in records] for name, records in answers.items()}
    only_a = sum(x and not y for x, y in zip(hits["a"], hits["b"], strict=True))
    only_b = sum(y and not x for x, y in zip(hits["a"], hits["b"], strict=True))
    exact = binomtest(only_a, only_a + only_b).pvalue
    assert found["p"] == pytest.approx(exact - binom.pmf(only_a, only_a + only_b, 0.5))


def test_two_groups_cannot_be_tested() -> None:
    answers = {"a": answered(4, rows=4), "b": answered(5, rows=4)}
    found = difference("accuracy", "a", "b", answers, LABELS)
    assert found is not None
    assert found["p"] is found["low"] is found["test"] is found["detectable"] is None


def test_rows_that_an_endpoint_failed_take_no_part() -> None:
    whole = answered(6)
    failed = [{**{k: r[k] for k in ("id", "group", "gold")}, "error": "status 500"} for r in whole[:10]]
    records = [*failed, *whole[10:]]
    found = measure(records, "classification", LABELS)
    expected = measure(whole[10:], "classification", LABELS)
    assert found == expected
    assert found["macro_f1"]["n"] == 70
    gap = difference("macro_f1", "a", "b", {"a": whole, "b": records}, LABELS)
    assert gap is not None
    assert (gap["n"], gap["difference"]) == (70, 0)
    nobody = measure(failed, "classification", LABELS)
    assert {entry["value"] for entry in nobody.values()} == {None}
    assert details(failed) == {"made": "generated", "calibration": None, "rules": None}
