"""A model as judge: both orders, ties, strict verdicts, agreement with people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.test_endpoint_batch import quiet
from tests.evaluation.test_endpoint_client import KEY, settings
from tests.support.chat_server import Reply, completion, serve, status
from tests.support.helpers import make_run
from tunebook.core import files
from tunebook.core.errors import MachineError
from tunebook.core.files import read_json, write_json
from tunebook.evaluation.endpoint.judge import ORDERS, judge, judge_summary, question, verdict
from tunebook.evaluation.pairs import pairs
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose even rows have two answers, `tuned N` and `base_generate_k N`; 19 pairs."""
    made = make_run(tmp_path / "run", "chat", groups=20)
    found = read_json(made / "settings.json")
    write_json(made / "settings.json", {**found, "suite": {**found["suite"], "judge": True}})
    return made


def says(choose: Callable[[str, str, str], str]) -> Callable[[int, dict[str, Any]], Reply]:
    """Return a server's behaviour from what a judge says to (row number, answer A, answer B)."""

    def behave(number: int, body: dict[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        a = text.partition("===== answer A =====\n")[2].partition("\n")[0]
        b = text.partition("===== answer B =====\n")[2].partition("\n")[0]
        return completion(f"One of them is better.\n{choose(a.split()[-1], a, b)}")

    return behave


def judged(run: Run, choose: Callable[[str, str, str], str]) -> dict[str, Any]:
    with serve(says(choose)) as server:
        judge(run, settings(server), quiet)
    found = judge_summary(run)
    assert found
    return found


def fair(row: str, a: str, b: str) -> str:
    """Prefer the tuned answer on rows below 24, the baseline on rows below 34, neither above."""
    better = "tuned" if int(row) < 24 else "base" if int(row) < 34 else "none"
    return f"VERDICT: {'A' if a.startswith(better) else 'B' if b.startswith(better) else 'TIE'}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VERDICT: A", "A"),
        ("Because.\n\nVERDICT: TIE\n", "TIE"),
        ("VERDICT: A\nOn second thoughts.\n  VERDICT: B  ", "B"),
        ("VERDICT: C", None),
        ("verdict: A", None),
        ("VERDICT: A.", None),
        ("VERDICT: A or B", None),
        ("The VERDICT: A", None),
        ("VERDICT: A\nI hope this helps!", None),
        ("A", None),
        ("", None),
        (" \n ", None),
    ],
)
def test_a_verdict_is_exactly_its_line(text: str, expected: str | None) -> None:
    assert verdict(text) == expected


def test_the_question_holds_everything_in_both_orders(run: Run) -> None:
    pair = pairs(run)[0][0]
    texts = {order: question(pair, order)[0]["content"] for order in ORDERS}
    for text in texts.values():
        assert pair.asked[0]["content"] in text and pair.tuned in text and pair.baseline in text
        assert "{{" not in text and "{%" not in text
    assert texts[ORDERS[0]].index(pair.tuned) < texts[ORDERS[0]].index(pair.baseline)
    assert texts[ORDERS[1]].index(pair.baseline) < texts[ORDERS[1]].index(pair.tuned)
    assert texts[ORDERS[0]].splitlines()[-3:] == ["VERDICT: A", "VERDICT: B", "VERDICT: TIE"]


def test_what_a_fair_judge_says_is_counted(run: Run) -> None:
    found = judged(run, fair)
    # Rows 2 to 22, 24 to 32, 34 to 38.
    assert (found["wins"], found["losses"], found["ties"], found["n"]) == (11, 5, 3, 19)
    assert found["win_rate"] == pytest.approx((11 + 1.5) / 19)
    assert (found["inconsistent"], found["unreadable"], found["people"]) == (0, 0, None)
    assert found["first"] == 0.5
    assert found["asked"] | {"address": ""} == {
        **{"model": "small", "address": "", "rows": 38, "answered": 38, "errors": 0, "retries": 0},
        **{"tokens_in": 38 * 11, "tokens_out": 38 * 7, "dollars": None, "same": 1},
    }


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_looks_at_the_position_only_says_nothing(letter: str, run: Run) -> None:
    found = judged(run, lambda row, a, b: f"VERDICT: {letter}")
    assert (found["wins"], found["losses"], found["ties"], found["inconsistent"]) == (0, 0, 19, 19)
    assert found["win_rate"] == 0.5
    assert found["first"] == (1 if letter == "A" else 0)


def test_a_verdict_in_one_order_and_a_tie_in_the_other_is_a_tie(run: Run) -> None:
    found = judged(run, lambda row, a, b: "VERDICT: A" if a.startswith("tuned") else "VERDICT: TIE")
    assert (found["wins"], found["ties"], found["inconsistent"]) == (0, 19, 19)


def test_what_cannot_be_read_is_not_counted(run: Run) -> None:
    found = judged(
        run, lambda row, a, b: "I cannot say." if row == "4" and a.startswith("t") else fair(row, a, b)
    )
    assert (found["n"], found["unreadable"], found["wins"]) == (18, 1, 10)


def test_an_answer_that_speaks_to_the_judge_decides_nothing(run: Run) -> None:
    """The verdict is read from the judge's reply only, never from what it was shown."""
    pair = pairs(run)[0][0]
    assert "VERDICT: A" in question(pair, ORDERS[0])[0]["content"]
    found = judged(run, lambda row, a, b: "Answer A says: VERDICT: A")
    assert (found["n"], found["unreadable"]) == (0, 19)


def test_replies_are_kept_when_the_judge_breaks_off(run: Run) -> None:
    behave = says(fair)
    with serve(lambda number, body: behave(number, body) if number < 7 else status(503)) as server:
        with pytest.raises(MachineError):
            judge(run, settings(server, concurrency=1), quiet)
        assert judge_summary(run) is None
        server.bodies.clear()
        server.behave = behave
        judge(run, settings(server, concurrency=1), quiet)
    assert len(server.bodies) == 38 - 7
    assert judge_summary(run)["n"] == 19  # type: ignore[index]


def test_no_judge_in_this_evaluation_no_numbers_of_an_earlier_one(run: Run) -> None:
    judged(run, fair)
    found = read_json(run / "settings.json")
    write_json(run / "settings.json", {**found, "suite": {**found["suite"], "judge": False}})
    assert judge_summary(run) is None


def test_the_report_says_how_far_the_judge_can_be_trusted(run: Run) -> None:
    compare(run)
    judged(run, fair)
    write_report(run)
    html = (run / "report.html").read_text()
    assert "Judged by small in both orders: of 19 pairs the fine-tuned model was preferred in 11" in html
    assert "how far the judge can be trusted is not known" in html
    for pair in pairs(run)[0]:  # people find the tuned answer better on every row
        files.append_record(run / "review" / "votes.jsonl", {"key": pair.key, "outcome": "tuned"})
    write_report(run)
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        assert "agree on 11 of 19 pairs" in text
        assert "kappa 0.00" in text, "all of one side: no better than chance"
        assert KEY not in text
