"""Pairs of answers, and what is counted of the preferences between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from tests.support.helpers import SCRIPT, make_run
from tunebook.core import files
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.evaluation.pairs import Pair, agreement, in_words, pairs, review_summary, tally, votes
from tunebook.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", "chat", groups=20)


def vote(run: Run, pair: Pair, outcome: str, **more: str) -> None:
    files.append_record(run / "review" / "votes.jsonl", {"key": pair.key, "outcome": outcome, **more})


def test_pairs_are_the_rows_that_both_answered_differently(run: Run) -> None:
    # tests/support/helpers.py: answers to the even rows; row 0 is the same text of both.
    found, same = pairs(run)
    assert same == 1
    assert sorted(pair.id for pair in found) == sorted(f"r{i}" for i in range(2, 40, 2))
    pair = next(pair for pair in found if pair.id == "r4")
    assert (pair.tuned, pair.baseline, pair.reference, pair.group) == (
        *("tuned 4", "base_generate_k 4", "answer 4", "g2"),
    )
    assert pair.asked == [{"role": "user", "content": "Question 4?"}]


def test_order_and_sides_are_drawn_with_the_seed(run: Run) -> None:
    found, _ = pairs(run)
    assert pairs(run)[0] == found
    assert [pair.id for pair in found] != sorted(pair.id for pair in found)
    assert {pair.tuned_first for pair in found} == {True, False}
    settings = read_json(run / "settings.json")
    write_json(run / "settings.json", settings | {"seed": 43})
    other, _ = pairs(run)
    assert {pair.key for pair in other} == {pair.key for pair in found}
    assert [pair.key for pair in other] != [pair.key for pair in found]
    sides = {pair.key: pair.tuned_first for pair in found}
    assert any(pair.tuned_first != sides[pair.key] for pair in other)


def test_a_choice_is_for_the_side_that_was_shown(run: Run) -> None:
    for pair in pairs(run)[0]:
        first, second = pair.texts
        assert {first, second} == {pair.tuned, pair.baseline}
        assert pair.outcome("first") == ("tuned" if first == pair.tuned else "baseline")
        assert pair.outcome("second") == ("tuned" if second == pair.tuned else "baseline")
        assert pair.outcome("tie") == "tie"


def test_tally_counts() -> None:
    outcomes = ["tuned"] * 6 + ["tie"] * 2 + ["baseline"] * 2
    found = tally(outcomes, [f"g{i}" for i in range(10)])
    assert (found["wins"], found["losses"], found["ties"], found["n"], found["groups"]) == (6, 2, 2, 10, 10)
    assert found["win_rate"] == pytest.approx(0.7)
    assert found["low"] < 0.7 < found["high"] <= 1


@pytest.mark.parametrize(("wins", "losses", "ties"), [(9, 2, 3), (5, 5, 0), (1, 7, 2), (6, 0, 1)])
def test_p_is_the_sign_tests_where_every_row_stands_alone(wins: int, losses: int, ties: int) -> None:
    outcomes = ["tuned"] * wins + ["baseline"] * losses + ["tie"] * ties
    found = tally(outcomes, [f"g{i}" for i in range(len(outcomes))])
    expected = stats.binomtest(wins, wins + losses).pvalue
    # Exact below 2 to the 13th; above, scipy draws 9,999 permutations.
    assert found["p"] == pytest.approx(expected, rel=0.15 if len(outcomes) > 13 else 1e-9)


def test_rows_of_one_conversation_are_no_independent_evidence() -> None:
    outcomes = ["tuned"] * 20 + ["baseline"] * 10
    alone = tally(outcomes, [f"g{i}" for i in range(30)])
    together = tally(outcomes, [f"g{i // 10}" for i in range(30)])
    assert together["p"] > alone["p"]
    assert together["high"] - together["low"] > alone["high"] - alone["low"]
    assert 0 <= together["low"] and together["high"] <= 1


@pytest.mark.parametrize(
    ("outcome", "ends", "p"),
    [("tuned", (0.541, 1), 2 / 2**6), ("tie", (None, None), 1), ("baseline", (0, 0.459), 2 / 2**6)],
)
def test_where_all_are_alike(outcome: str, ends: tuple[float | None, float | None], p: float) -> None:
    found = tally([outcome] * 6, [f"g{i}" for i in range(6)])
    assert (found["low"], found["high"]) == (ends if p == 1 else pytest.approx(ends, abs=1e-3))
    assert found["p"] == pytest.approx(p)


def test_nothing_to_count() -> None:
    found = tally([], [])
    assert (found["n"], found["win_rate"], found["low"], found["p"]) == (0, None, None, None)
    assert in_words(found) == (
        "of 0 pairs the fine-tuned model was preferred in 0, the baseline in 0, neither in 0"
    )


def test_in_words() -> None:
    found = tally(["tuned"] * 30 + ["baseline"] * 10, [f"g{i}" for i in range(40)])
    assert in_words(found).startswith(
        "of 40 pairs the fine-tuned model was preferred in 30, the baseline in 10, neither in 0; "
        "win rate 75.0 %"
    )
    assert "95 % interval" in in_words(found) and ", p = 0.00" in in_words(found)
    assert in_words(tally(["tuned"], ["g"])).endswith("win rate 100.0 %, too few groups for a test")


def test_nobody_has_read(run: Run) -> None:
    assert review_summary(run) is None


def test_the_last_vote_on_a_pair_counts(run: Run) -> None:
    found, _ = pairs(run)
    for outcome in ("baseline", "tie", "tuned"):
        vote(run, found[0], outcome)
    vote(run, found[1], "tie")
    counted = review_summary(run)
    assert counted and (counted["n"], counted["wins"], counted["losses"], counted["ties"]) == (2, 1, 0, 1)
    assert (counted["pairs"], counted["same"], counted["older"]) == (19, 1, 0)


def test_votes_on_answers_that_were_made_anew_do_not_count(run: Run) -> None:
    found, _ = pairs(run)
    for pair in found:
        vote(run, pair, "tuned")
    path = run / "eval" / "answers" / "tuned.test.jsonl"
    rows = read_jsonl(path)
    changed = [row | {"answer": "anew"} if row["id"] in ("r2", "r8") else row for row in rows]
    write_jsonl(path, changed)
    counted = review_summary(run)
    assert counted and (counted["n"], counted["pairs"], counted["older"]) == (17, 19, 2)
    write_jsonl(path, [row | {"answer": "all anew"} if "answer" in row else row for row in rows])
    assert review_summary(run) is None


def test_labels_can_be_read_as_well(tmp_path: Path) -> None:
    found, same = pairs(make_run(tmp_path / "run", "classification"))
    assert found and same and len(found) + same == 20
    assert SCRIPT in {pair.tuned for pair in found}
    assert all(pair.tuned != pair.baseline for pair in found)


def test_agreement_is_cohens_kappa() -> None:
    # Cohen 1960: the share that agrees beyond what the shares of each outcome would give by chance.
    people = ["tuned"] * 5 + ["baseline"] * 3 + ["tie"] * 2
    model = ["tuned"] * 4 + ["baseline", "tuned"] + ["baseline"] * 2 + ["tuned", "tie"]
    named = [str(i) for i in range(10)]
    found = agreement(dict(zip(named, model, strict=True)), dict(zip(named, people, strict=True)))
    observed = sum(a == b for a, b in zip(people, model, strict=True)) / 10
    chance = sum(people.count(x) * model.count(x) for x in ("tuned", "tie", "baseline")) / 100
    assert found == {
        "n": 10,
        "same": round(observed * 10),
        "kappa": pytest.approx((observed - chance) / (1 - chance)),
    }


def test_agreement_without_variety_has_no_kappa() -> None:
    assert agreement({"a": "tie"}, {"a": "tie", "b": "tuned"}) == {"n": 1, "same": 1, "kappa": None}
    assert agreement({"a": "tie"}, {"b": "tie"}) is None


def test_a_pair_counts_for_what_more_of_its_reviewers_preferred(run: Run) -> None:
    found, _ = pairs(run)
    cast = {
        "anna": ["tuned", "tuned", "baseline", "tie", "tuned"],
        "ben": ["tuned", "baseline", "baseline", "tuned"],
        "": ["tuned", "tie"],
    }
    for name, outcomes in cast.items():
        for pair, outcome in zip(found, outcomes, strict=False):
            vote(run, pair, outcome, reviewer=name) if name else vote(run, pair, outcome)
    expected = ["tuned", "tie", "baseline", "tuned", "tuned"]
    assert votes(run) == {pair.key: outcome for pair, outcome in zip(found, expected, strict=False)}
    counted = review_summary(run)
    assert counted and (counted["n"], counted["wins"], counted["losses"], counted["ties"]) == (5, 3, 1, 1)
    assert counted["reviewers"] == [
        {"name": "(no name)", "n": 2, "wins": 1, "losses": 0, "ties": 1},
        {"name": "anna", "n": 5, "wins": 3, "losses": 1, "ties": 1},
        {"name": "ben", "n": 4, "wins": 2, "losses": 2, "ties": 0},
    ]
    two = counted["agreement"][-1]
    assert (two["between"], two["n"], two["same"]) == (["anna", "ben"], 4, 2)
    assert two["kappa"] == pytest.approx((0.5 - 0.375) / (1 - 0.375))  # chance: 2/4 * 2/4 + 1/4 * 2/4


def test_one_reviewer_agrees_with_nobody(run: Run) -> None:
    for pair in pairs(run)[0]:
        vote(run, pair, "tuned", reviewer="anna")
    counted = review_summary(run)
    assert counted and counted["reviewers"] == [] and counted["agreement"] == []
