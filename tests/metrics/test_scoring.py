"""Scores of one answer, held against hand counts and sacrebleu."""

from __future__ import annotations

import json
import math
import re

import pytest
from sacrebleu import sentence_chrf

from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.data import style_rules
from tunebook.data.style_rules import Rule, rules_met
from tunebook.metrics.aggregate import measure
from tunebook.metrics.labels import read_label
from tunebook.metrics.scoring import bits_per_byte, chrf, rouge_l, squad

LABELS = ["perch", "perch_two", "acorn_fill", "Dud"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("perch", "perch"),
        ('  "perch".\n', "perch"),
        ("`acorn_fill`", "acorn_fill"),
        ("PERCH", "perch"),
        ("dud", "Dud"),
        ("The code is perch.", "perch"),
        ("Perch, since perch is what they want.", "perch"),
        ("**Code:** acorn_fill", "acorn_fill"),
        ("perch_two", "perch_two"),
        ("It is perch_two.", "perch_two"),
        ("perch or acorn_fill", None),
        ("Not a dud but perch_two", None),
        ("", None),
        ("Hello there", None),
        ("perched", None),
        ("superperch", None),
        ("perch_three", None),
        ("acorn fill", None),
    ],
)
def test_read_label(text: str, label: str | None) -> None:
    assert read_label(text, LABELS) == label


@pytest.mark.parametrize("labels", [["card", "card lost", "card-fee"], ["card-fee", "card lost", "card"]])
def test_a_label_inside_another_is_not_a_second_mention(labels: list[str]) -> None:
    assert read_label("card lost", labels) == "card lost"
    assert read_label("It is card.", labels) == "card"
    assert read_label("It is card lost.", labels) == "card lost"
    assert read_label("It is card-fee.", labels) == "card-fee"
    assert read_label("It is card lost, or just card.", labels) is None


def test_a_label_is_text_and_no_pattern() -> None:
    assert read_label("It is a+b (c).", ["a+b (c)", "aab"]) == "a+b (c)"
    assert read_label("aab c", ["a+b c"]) is None


@pytest.mark.parametrize(("text", "size"), [("abcd", 4), ("caf\u00e9", 5), ("\U0001f6f6!", 5), ("\u2028", 3)])
def test_bits_per_byte(text: str, size: int) -> None:
    # Three bits for the whole text: its probability is one in eight.
    assert bits_per_byte(math.log(1 / 8), text) == pytest.approx(3 / size)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [("The kettle is on.", "The kettle is on."), ("the cattle are on", "The kettle is on."), ("", "Yes.")],
)
def test_chrf_is_sacrebleus(answer: str, reference: str) -> None:
    assert chrf(answer, reference) == pytest.approx(sentence_chrf(answer, [reference]).score / 100)


def test_chrf_is_a_share() -> None:
    assert chrf("The kettle is on.", "The kettle is on.") == pytest.approx(1.0)
    assert chrf("xyz", "The kettle is on.") == 0
    assert 0.3 < chrf("The cattle is on.", "The kettle is on.") < 0.9


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"must": r"on\.$"}, "It is on.", "It is on. Bye"),
        ({"must_not": "!"}, "Hello.", "Hello!"),
        ({"once": "Next:"}, "Next: go.", "Go."),
        ({"once": "Next:"}, "Next: go.", "Next: go. Next: stop."),
        ({"max_words": 3}, "one  two\nthree", "one two three four"),
        ({"max_words": 3}, "\u5317\u4eac\u5e02\u3002", "\u5728\u5317\u4eac\u5e02"),
        ({"must": "a", "must_not": "b"}, "a", "ab"),
        ({"must": "a", "must_not": "b"}, "a", "c"),
    ],
)
def test_each_kind_of_rule(rule: dict[str, str], good: str, bad: str) -> None:
    rules = {"it": Rule.model_validate(rule)}
    assert rules_met(rules, good, {}) == {"it": True}
    assert rules_met(rules, bad, {}) == {"it": False}


def test_a_rule_applies_only_when() -> None:
    rules = {"clock": Rule(when=r"\d[:.]\d\d", must_not=":"), "short": Rule(max_words=9)}
    assert rules_met(rules, "At noon: perhaps.", {}) == {"short": True}
    assert rules_met(rules, "At 7.30.", {}) == {"short": True, "clock": True}
    assert rules_met(rules, "At 7:30.", {}) == {"short": True, "clock": False}


def test_fields_of_gold_are_text_and_no_pattern() -> None:
    rules = {"name": Rule(must="^{{ member }}, ")}
    gold = {"member": "J.(R) <+>"}
    assert rules_met(rules, "J.(R) <+>, hello.", gold) == {"name": True}
    assert rules_met(rules, "JxR <>, hello.", gold) == {"name": False}
    assert rules_met({"many": Rule(must="^{{ count }}$")}, "3", {"count": 3}) == {"many": True}


def test_a_pattern_that_would_never_end_is_named_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_rules, "SECONDS", 0.05)
    answer = "a" * 5000 + "!"
    assert rules_met({"fine": Rule(must="a+!$")}, answer, {}) == {"fine": True}
    for rule in (Rule(must="(a+)+$"), Rule(when="(a+)+$", max_words=3)):
        with pytest.raises(InputError) as error:
            rules_met({"slow": rule}, answer, {})
        assert error.value.code == "data.slow_rule"
        assert "rules.slow" in str(error.value) and "'(a+)+$'" in str(error.value)


def test_a_pattern_is_pythons_own() -> None:
    """The library with the time limit accepts more than `re`, which other tools would not."""
    with pytest.raises(re.error):
        rules_met({"more": Rule(must=r"\p{Lu}(?|a|b)")}, "text", {})


def test_squad_digits_are_the_official_scripts() -> None:
    """official.json is what evaluate-v2.0.py (SQuAD-explorer, commit eee5fdb) printed for these files."""
    folder = ROOT / "tests" / "fixtures" / "squad"
    golds, predictions, official = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("golds", "predictions", "official")
    )
    records = []
    for name, texts in golds.items():
        record = {"id": name, "group": name, "golds": texts}
        if name in predictions:  # the script leaves a question without a prediction out of its total
            record |= squad(texts, predictions[name], None)
        records.append(record)
    found = measure(records, "qa", [])
    for ours, theirs in {
        "em": "exact",
        "f1": "f1",
        "has_answer_em": "HasAns_exact",
        "has_answer_f1": "HasAns_f1",
        "no_answer_em": "NoAns_exact",
    }.items():
        assert found[ours]["value"] * 100 == pytest.approx(official[theirs], abs=1e-12), ours
    assert found["f1"]["n"] == official["total"] == len(golds) - 1
    assert found["no_answer_em"]["n"] == official["NoAns_total"]


@pytest.mark.parametrize("text", ["Not stated.", "not stated", "The not stated"])
def test_the_text_for_no_answer_counts_as_the_empty_answer(text: str) -> None:
    assert squad([], text, "Not stated.")["em"] == 1
    assert squad(["Monday"], text, "Not stated.") == {"golds": ["Monday"], "em": 0, "f1": 0}
    assert squad([], "Monday", "Not stated.")["f1"] == 0


def test_scripts_without_blanks_are_scored_by_letters() -> None:
    """As MLQA's evaluation: tokens are letters, and full-width punctuation counts for nothing."""
    found = squad(["\u5317\u4eac\u5e02"], "\u5728\u5317\u4eac\u5e02\u3002", None)
    assert found["f1"] == pytest.approx(2 * 3 / (3 + 4))
    assert squad(["\u5317\u4eac"], "\u5317\u4eac\u3002", None)["em"] == 1
    assert rouge_l("\u5728\u5317\u4eac", "\u5317\u4eac") == pytest.approx(0.8)
    assert rouge_l(
        "\u041e\u043d\u0430 \u0434\u043e\u043c\u0430",
        "\u043e\u043d\u0430 \u043d\u0435 \u0434\u043e\u043c\u0430",
    ) == pytest.approx(0.8)
    assert rouge_l("abc", "\u5317\u4eac") == 0
