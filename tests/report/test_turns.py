"""What a report says of the answers of conversations, and old runs, which have no such counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.dialogues import TOPICS, dialogues
from tests.support.helpers import make_run
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.data.formats.turns import to_generate
from tunebook.evaluation.pairs import pairs
from tunebook.metrics.schema import read_metrics
from tunebook.report.leaderboard import compare_runs
from tunebook.report.report import side_by_side, write_report
from tunebook.report.seeds import across_seeds
from tunebook.report.turns import in_words
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


def talking(folder: Path, every: bool = True) -> Run:
    """Return a hand-made run of six dialogues; with `every`, judged by all their answers."""
    run = make_run(folder, "chat", groups=3)
    rows = dialogues(greeting=True)
    write_jsonl(run / "data" / "test.jsonl", rows)
    for path in (run / "eval" / "answers").glob("*.test.jsonl"):
        records = []
        for row, up, old in zip(rows, to_generate(rows), read_jsonl(path), strict=True):
            new = {**old, "id": row["id"], "group": row["group"], "gold": row["gold"]["answer"]}
            if every:
                new |= {"gold": up["gold"]["answer"], "turns": [1, 3, 5], "turn_losses": [old["loss"]] * 3}
                new |= {"turn": up["turn"]} if "answer" in old else {}
            records.append(new)
        write_jsonl(path, records)
    compare(run)
    return run


def test_the_report_says_which_answers_were_scored(tmp_path: Path) -> None:
    run = talking(tmp_path / "run")
    measured = read_metrics(run / "metrics.json")
    counts = {"evaluated": "all", "scored": 18, "repeated": 12, "conversations": 6}
    assert measured["turns"] == {**counts, "generated": 3, "generated_last": 0}
    write_report(run)
    said = in_words(measured["turns"])
    assert "all 18 trained answers in 6 conversations; 12 of them" in said
    for name in ("report.md", "report.html"):
        assert said in (run / name).read_text(encoding="utf-8")
    assert "reference, answer 2 of 3" in (run / "report.html").read_text(encoding="utf-8")


def test_prompts_shown_end_where_the_drawn_answer_begins(tmp_path: Path) -> None:
    run = talking(tmp_path / "run")
    shown = side_by_side(run, read_metrics(run / "metrics.json"))["drawn"]
    assert shown and all(row["place"] == "answer 2 of 3" for row in shown)
    topics = dict((answer, topic) for topic, answer in TOPICS)
    for row in shown:
        assert row["asked"].endswith(f"user: I ask about {topics[row['reference']]}.")
    for pair in pairs(run)[0]:
        assert pair.asked[-1]["content"] == f"I ask about {topics[pair.reference]}."
        assert pair.place == "answer 2 of 3"


def test_a_run_judged_by_the_last_answers_opens_and_says_so(tmp_path: Path) -> None:
    run = talking(tmp_path / "run", every=False)
    measured = read_metrics(run / "metrics.json")
    counts = {"evaluated": "last", "scored": 6, "repeated": 6, "conversations": 6}
    assert measured["turns"] == {**counts, "generated": 3, "generated_last": 3}
    assert in_words(measured["turns"]).startswith("Only the last answer of 6 conversations is scored")
    shown = side_by_side(run, measured)["drawn"]
    assert all(row["asked"].endswith("user: Thanks, bye.") for row in shown)
    # As written before there were such counts.
    old = {key: value for key, value in read_json(run / "metrics.json").items() if key != "turns"}
    write_json(run / "metrics.json", old)
    write_report(run)
    assert pairs(run)[0][0].asked[-1]["content"] == "Thanks, bye."


def test_the_two_ways_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    for name, every in (("aaaa", True), ("bbbb", False), ("cccc", True)):
        run = talking(tmp_path / "runs" / "handmade-lora" / name, every)
        run.mark("report", "done")
    with pytest.raises(InputError) as caught:
        compare_runs(["handmade-lora/aaaa", "handmade-lora/bbbb"], Console())
    assert [problem.code for problem in caught.value.problems] == ["run.different_tests"]
    assert compare_runs(["handmade-lora/aaaa", "handmade-lora/cccc"], Console()) == 0
    assert compare_runs([], Console()) == 0
    assert len(read_json(tmp_path / "runs" / "compare.json")) == 2
    assert len([*(tmp_path / "runs").glob("compare-*.html")]) == 2

    def measured(name: str, seed: int) -> dict[str, Any]:
        return read_json(tmp_path / "runs" / "handmade-lora" / name / "metrics.json") | {"seed": seed}

    with pytest.raises(InputError) as caught:
        across_seeds([measured("aaaa", 1), measured("bbbb", 2)])
    assert [problem.code for problem in caught.value.problems] == ["run.seeds_differ"]
    assert across_seeds([measured("aaaa", 1), measured("cccc", 2)])["seeds"] == [1, 2]


def test_rows_of_one_answer_have_no_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "chat")
    compare(run)
    measured = read_metrics(run / "metrics.json")
    assert measured["turns"] is None and in_words(None) == ""
