"""The project's own evaluation texts and preference pairs: fields, balance, no leak, no frames."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml

from scripts.describe_dataset import describe_pairs
from tunebook.core.paths import ROOT
from tunebook.data.style_rules import Rule, rules_met
from tunebook.report.markdown_blocks import block

Row = dict[str, Any]
CHECKS = {
    **dict.fromkeys(("starts_with", "ends_with", "contains", "not_contains", "regex"), str),
    **dict.fromkeys(("max_words", "min_words", "lines", "sentences_at_most"), int),
    **dict.fromkeys(("lowercase", "uppercase"), bool),
}
OWN = ("kettlewick-intents", "kettlewick-handbook", "kettlewick-chat")
JUDGED_BY_READING = {"fact", "promise", "evasive", "tone"}


def rows_of(path: str) -> list[Row]:
    lines = (ROOT / path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def settings(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / f"datasets/{name}/dataset.yaml").read_text("utf-8"))
    return read


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def most_common_frame(texts: list[str]) -> tuple[str, int]:
    """Return the six words in a row that stand in the most texts, and in how many."""
    frames: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        given = words(text)
        frames.update({tuple(given[i : i + 6]) for i in range(len(given) - 5)})
    frame, count = frames.most_common(1)[0]
    return " ".join(frame), count


RANKED = [("choices", "question", "options"), ("completions", "context", "endings")]
RANKED += [("arithmetic", "question", "options")]
PAIRS = {s: rows_of(f"datasets/kettlewick-preference/source/{s}.jsonl") for s in ("train", "dev", "test")}
VOICE = {name: Rule(**rule) for name, rule in settings("kettlewick-chat")["rules"].items()}


@pytest.mark.parametrize(("name", "stem", "options"), RANKED)
def test_ranked_rows(name: str, stem: str, options: str) -> None:
    rows = rows_of(f"evals/retention/{name}.jsonl")
    assert len(rows) == {"choices": 160, "completions": 80, "arithmetic": 60}[name]
    assert len({row["id"] for row in rows}) == len({row[stem] for row in rows}) == len(rows)
    assert all(set(row) == {"id", stem, options, "answer"} for row in rows)
    assert all(len(set(row[options])) == 4 for row in rows)
    places = Counter(row["answer"] for row in rows)
    assert dict(places) == dict.fromkeys(range(4), len(rows) // 4), "every place is right equally often"
    assert most_common_frame([row[stem] for row in rows])[1] <= 0.02 * len(rows)


@pytest.mark.parametrize(("name", "stem", "options"), RANKED)
def test_length_does_not_give_the_answer_away(name: str, stem: str, options: str) -> None:
    rows = rows_of(f"evals/retention/{name}.jsonl")
    for pick in (max, min):
        hits = 0.0
        for row in rows:
            lengths = [len(text) for text in row[options]]
            picked = [i for i, length in enumerate(lengths) if length == pick(lengths)]
            hits += (row["answer"] in picked) / len(picked)
        assert hits / len(rows) < 0.4, f"always taking the {pick.__name__} in length"


def test_arithmetic_options_are_numbers() -> None:
    rows = rows_of("evals/retention/arithmetic.jsonl")
    assert all(option.isdigit() for row in rows for option in row["options"])


@pytest.mark.parametrize(("path", "count"), [("retention/instructions", 120), ("style/other_tasks", 24)])
def test_checks(path: str, count: int) -> None:
    rows = rows_of(f"evals/{path}.jsonl")
    assert len(rows) == len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == count
    for row in rows:
        assert set(row) == {"id", "prompt", "checks"} and row["checks"]
        for check in row["checks"]:
            ((key, value),) = check.items()
            assert type(value) is CHECKS[key], row["id"]
            if key == "regex":
                re.compile(value)


def test_the_trained_formats_fail_the_checks_of_another_task() -> None:
    """A code, a short span, the handbook's refusal and a message of the Desk are all caught."""
    for row in rows_of("evals/style/other_tasks.jsonl"):
        least = max(check.get("min_words", 0) for check in row["checks"])
        banned = {check["not_contains"] for check in row["checks"] if "not_contains" in check}
        assert least >= 4, row["id"]
        assert banned == {"The kettle is on", settings("kettlewick-handbook")["no_answer"].rstrip(".")}


def test_instructions_of_the_style_suite() -> None:
    read = yaml.safe_load((ROOT / "evals/style/systems.yaml").read_text("utf-8"))
    assert tuple(read) == OWN
    for name, given in read.items():
        assert set(given) == {"paraphrases", "foreign", "contradiction"}
        texts = [*given["paraphrases"], *given["foreign"], given["contradiction"], settings(name)["system"]]
        assert (len(given["paraphrases"]), len(given["foreign"])) == (5, 2)
        assert len(set(texts)) == 9
        assert all("Kettlewick" in text for text in given["paraphrases"])


def test_preference_splits() -> None:
    assert {split: len(rows) for split, rows in PAIRS.items()} == {"train": 173, "dev": 36, "test": 160}
    ids = [row["id"] for rows in PAIRS.values() for row in rows]
    assert len(set(ids)) == len(ids)
    for one, two in combinations(PAIRS.values(), 2):
        for field in ("conversation", "member"):
            assert not {row[field] for row in one} & {row[field] for row in two}
    for split, digit in (("train", "1"), ("dev", "2"), ("test", "3")):
        assert {row["id"][:2] for row in PAIRS[split]} == {"p" + digit}, "no row ever moves to another split"


def broken(answer: str, row: Row) -> list[str]:
    return [name for name, met in rules_met(VOICE, answer, {"member": row["member"]}).items() if not met]


def all_pairs() -> Iterator[Row]:
    return (row for rows in PAIRS.values() for row in rows)


@pytest.mark.slow
def test_chosen_answers_and_earlier_turns_keep_the_house_voice() -> None:
    for row in all_pairs():
        roles = [turn["role"] for turn in row["turns"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], row["id"]
        said = [turn["content"] for turn in row["turns"] if turn["role"] == "assistant"]
        assert [broken(answer, row) for answer in [*said, row["chosen"]]] == [[]] * (len(said) + 1), row["id"]


@pytest.mark.slow
def test_rejected_answers_break_the_rule_they_name_and_no_other() -> None:
    found = {row["id"]: broken(row["rejected"], row) for row in all_pairs()}
    named = {row["id"]: [] if row["off"] in JUDGED_BY_READING else [row["off"]] for row in all_pairs()}
    assert found == named
    assert {row["off"] for row in all_pairs()} == JUDGED_BY_READING | set(VOICE)


@pytest.mark.parametrize("split", PAIRS)
def test_length_does_not_give_the_chosen_away(split: str) -> None:
    lengths = [(len(row["chosen"].split()), len(row["rejected"].split())) for row in PAIRS[split]]
    longer, shorter = sum(b > a for a, b in lengths), sum(b < a for a, b in lengths)
    assert 0.45 <= longer / (longer + shorter) <= 0.55
    assert abs(sum(b - a for a, b in lengths)) / len(lengths) <= 2


@pytest.mark.parametrize("field", ["asked", "chosen", "rejected"])
def test_no_frame_repeats_in_the_pairs(field: str) -> None:
    texts = [(row["turns"][-1]["content"] if field == "asked" else row[field]) for row in all_pairs()]
    frame, count = most_common_frame([text.replace("The kettle is on.", "") for text in texts])
    assert count <= 0.02 * len(texts), frame


def test_the_card_of_the_pairs_has_the_numbers_of_the_files() -> None:
    card = (ROOT / "datasets/kettlewick-preference/README.md").read_text(encoding="utf-8")
    assert block(card, "measured").rstrip() == describe_pairs(PAIRS)
