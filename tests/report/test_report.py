"""report.html and report.md of a hand-made run: the numbers of metrics.json, and nobody else's code."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.support.helpers import CONTENDERS, IMAGE, SCRIPT
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.report import names
from tunebook.report.format import thresholds
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

LOADS = ("src", "srcset", "href", "data", "action", "poster", "background", "formaction")


class Page(HTMLParser):
    """The tags of a page, the cells of its tables and the text of its style and visible parts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.style = self.visible = ""
        self._table: list[list[str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        self._open = tag
        if tag == "table":
            self._table = self.tables[values.get("id") or f"table {len(self.tables)}"] = []
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("td", "th"):
            self._table[-1][-1] += data.replace("\u00a0", " ")
        if self._open == "style":
            self.style += data
        elif self._open != "script":
            self.visible += data


def shown(metric: str, measure: dict[str, Any]) -> str:
    """Format a measure as the report should, from metrics.json alone."""

    def text(value: float) -> str:
        return (
            f"{value:.3f}"
            if metric in ("loss", "length_ratio", "byte_perplexity", "reward")
            else f"{value * 100:.1f} %"
        )

    if measure["value"] is None:
        return "-"
    return f"{text(measure['value'])} ({text(measure['low'])} to {text(measure['high'])})"


def expected_table(found: dict[str, Any]) -> list[list[str]]:
    """Return the contenders' table, a column each: the tuned model first, then the baseline."""
    every = found["contenders"].values()
    metrics = [
        name
        for name in found["contenders"]["tuned"]
        if any(name in one and one[name]["value"] is not None for one in every)
    ]
    first = ["tuned", found["baseline"]]

    def head(metric: str) -> str:
        counts = {one[metric]["n"] for one in every if metric in one and one[metric]["value"] is not None}
        of = "" if counts == {found["rows"]} else f" ({counts.pop()} of {found['rows']} examples)"
        return f"{names.metric(metric)}, {names.direction(metric)}{of}"

    rows = [["metric", "answers", *map(head, metrics)]]
    for name in [*first, *(name for name in found["contenders"] if name not in first)]:
        mark = names.contender(name, found["baseline"], shots=1)
        made = found["details"][name]["made"]
        rows.append([mark, made, *(shown(metric, found["contenders"][name][metric]) for metric in metrics)])
    return [list(row) for row in zip(*rows, strict=True)]


def markdown_table(text: str, head: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} "))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert all(set(cell) == {"-"} for cell in rows.pop(1))
    return rows


def test_what_models_and_members_write_is_escaped(reported: Run) -> None:
    html = (reported / "report.html").read_text(encoding="utf-8")
    assert SCRIPT not in html
    assert IMAGE not in html
    assert html.count(escape(SCRIPT)) >= 2, "as the tuned model's answer and as the baseline's prompt"
    assert escape(IMAGE, quote=False) in html.replace("&#34;", '"')
    assert not [attrs for tag, attrs in Page(html).tags if tag == "img"]


HOSTILE = "\x1b]8;;http://x\x07go\x1b[31m\x9b2J\u202ekcab\u2067\x00\u2028end"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "qa", "chat", "preference"])
def test_control_characters_of_models_and_rows_are_shown(task: str, handmade: Callable[..., Run]) -> None:
    run = handmade(task)
    for path in (run / "data" / "test.jsonl", *(run / "eval" / "answers").glob("*.jsonl")):
        rows = read_jsonl(path)
        for row in rows:
            if "answer" in row:
                row["answer"] = HOSTILE
            if "messages" in row:
                row["messages"][0]["content"] += HOSTILE
        write_jsonl(path, rows)
    compare(run)
    write_report(run)
    for name in ("report.html", "report.md", "model_card.md"):
        text = (run / name).read_text(encoding="utf-8")
        assert not {char for char in HOSTILE if unicodedata.category(char) in ("Cc", "Cf", "Zl")} & set(text)
    assert "\\u202ekcab" in (run / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(handmade: Callable[..., Run]) -> None:
    run = handmade()
    for path in (run / "data" / "test.jsonl", *(run / "eval" / "answers").glob("*.jsonl")):
        path.write_text(path.read_text().replace("<img", "img").replace("<script", "script"))
    write_report(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    loaded = [value for _, attrs in page.tags for name, value in attrs.items() if name in LOADS and value]
    assert not [value for value in loaded if value.startswith(("http:", "https:", "//"))]
    assert not [attrs for tag, attrs in page.tags if tag == "link"]
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_contenders_have_the_numbers_of_metrics_json(reported: Run) -> None:
    expected = expected_table(read_json(reported / "metrics.json"))
    page = Page((reported / "report.html").read_text(encoding="utf-8"))
    assert page.tables["contenders"] == expected
    assert markdown_table((reported / "report.md").read_text(encoding="utf-8"), "metric") == expected


def test_differences_have_the_numbers_of_metrics_json(reported: Run) -> None:
    found = read_json(reported / "metrics.json")
    deciding = (found["baseline"], found["primary"])
    comparisons = sorted(found["comparisons"], key=lambda c: (c["b"], c["metric"]) != deciding)
    pairs = [
        [
            names.contender(c["b"], found["baseline"], shots=1),
            names.metric(c["metric"]),
            names.signed(c["metric"], c["difference"]),
            f"{names.signed(c['metric'], c['low'])} to {names.signed(c['metric'], c['high'])}",
            f"{c['p']:.4f}",
            "" if c["p_holm"] is None else f"{c['p_holm']:.4f}",
            names.signed(c["metric"], c["detectable"]).replace("+", ""),
        ]
        for c in comparisons
    ]
    page = Page((reported / "report.html").read_text(encoding="utf-8"))
    rows = [[cell.strip() for cell in row] for row in page.tables["comparisons"][1:]]
    assert rows == [[*pair, str(c["n"])] for pair, c in zip(pairs, comparisons, strict=True)]
    assert (
        markdown_table((reported / "report.md").read_text(encoding="utf-8"), "fine-tuned compared with")[1:]
        == pairs
    )


def test_calibration_and_rules_have_the_numbers_of_metrics_json(reported: Run) -> None:
    found = read_json(reported / "metrics.json")
    page = Page((reported / "report.html").read_text(encoding="utf-8"))
    bins = [
        [
            names.contender(name, found["baseline"], 1),
            *(f"{b[key] * 100:.1f} %" for key in ("confidence", "accuracy")),
        ]
        for name, one in found["details"].items()
        for b in one["calibration"] or []
        if b["n"]
    ]
    assert [[row[0], *row[3:]] for row in page.tables.get("calibration", [])[1:]] == bins
    rules = [
        [
            rule.replace("_", " "),
            shown("rules", tuned),
            shown("rules", found["details"][found["baseline"]]["rules"][rule]),
        ]
        for rule, tuned in (found["details"]["tuned"]["rules"] or {}).items()
    ]
    assert page.tables.get("rules", [])[1:] == rules
    assert bool(bins) == (found["primary"] == "accuracy")
    assert bool(rules) == (found["primary"] in ("loss", "preference"))


def test_says_tier_verdict_and_sentence(reported: Run) -> None:
    found = read_json(reported / "metrics.json")
    page = Page((reported / "report.html").read_text(encoding="utf-8"))
    markdown = (reported / "report.md").read_text(encoding="utf-8")
    for text in (page.visible, markdown):
        assert "trial tier" in text.lower()
        assert found["sentence"] in text
        assert found["verdict"] in text.lower()
    assert "not the real model" in page.visible


def test_not_measured_is_said(handmade: Callable[..., Run]) -> None:
    run = handmade(retention=False)
    write_report(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    markdown = (run / "report.md").read_text(encoding="utf-8")
    assert "What was forgotten Not measured." in " ".join(page.visible.split())
    for table in (page.tables["contenders"], markdown_table(markdown, "metric")):
        for row in zip(*table, strict=True):
            # Invalid and stop rate of what generates nothing; two calibration errors of what is not ranked.
            empty = {"answers": 0, "generated": 2, "ranked": 2, "classified": 4}
            assert row.count("-") == empty[row[1]]


@pytest.mark.slow
@pytest.mark.parametrize("task", CONTENDERS)
def test_answers_are_shown_side_by_side(task: str, handmade: Callable[..., Run]) -> None:
    run = handmade(task, groups=30)
    write_report(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    drawn = page.visible.partition("drawn at random")[2].partition("Prompts of the base")[0]
    assert drawn.replace("preference", "").count("reference") == 20
    first = page.visible
    write_report(run)
    assert Page((run / "report.html").read_text(encoding="utf-8")).visible == first, "drawn with the seed"


def test_a_run_on_top_of_another_says_so(handmade: Callable[..., Run]) -> None:
    run = handmade("chat")
    write_json(run / "manifest.json", read_json(run / "manifest.json") | {"from_adapter": "0123456789abcdef"})
    write_report(run)
    for name in ("report.html", "report.md"):
        assert "and the adapter of an earlier run (0123456789)" in (run / name).read_text()


def test_says_of_how_many_examples_a_metric_is(handmade: Callable[..., Run]) -> None:
    run = handmade("chat")
    write_report(run)
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        assert f"{names.metric('chrf')}, {names.direction('chrf')} (10 of 20 examples)" in text
        assert f"{names.metric('loss')}, {names.direction('loss')} (" not in text


def test_says_how_many_rows_were_trained_on(handmade: Callable[..., Run]) -> None:
    run = handmade("chat")
    write_report(run)
    assert "trained on 2 examples" in (run / "report.md").read_text()
    history = run / "train" / "history.json"
    write_json(history, read_json(history) | {"train_rows": 1})
    compare(run)
    write_report(run)
    measured = read_json(run / "metrics.json")
    assert (measured["train_rows"], measured["given_rows"]) == (1, 2)
    for name in ("report.html", "report.md"):
        assert "trained on 1 of 2 examples" in (run / name).read_text()


def test_says_what_windows_of_passages_mean_for_the_score(handmade: Callable[..., Run]) -> None:
    run = handmade("qa")
    settings = run / "settings.json"
    saved = read_json(settings)
    write_json(settings, saved | {"dataset": saved["dataset"] | {"source": {"window": 300}}})
    rows = read_jsonl(run / "data" / "test.jsonl")
    for number, row in enumerate(rows):
        row["gold"]["answers"] = ["Question"] if number % 2 else ["absent"]
    write_jsonl(run / "data" / "test.jsonl", rows)
    write_report(run)
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        assert "without looking at the answer: 10 of 20 windows contain an answer" in text


def test_thresholds_come_from_the_ranked_labels_of_the_fine_tuned_model() -> None:
    def details(*counts: tuple[int, float]) -> Any:
        each = [
            {"low": number / 10, "high": (number + 1) / 10, "n": n, "confidence": 0.5, "accuracy": right}
            for number, (n, right) in enumerate(counts)
        ]
        return {"made": "ranked", "calibration": each, "rules": None}

    low, high = [(0, 0.0)] * 7, [(6, 0.5), (0, 0.0), (4, 1.0)]
    generated = {"made": "generated", "calibration": None, "rules": None}
    measured: Any = {"details": {"tuned": generated, "tuned_rank_0": details(*low, *high)}}
    shares = [tuple(row.values()) for row in thresholds(measured)]
    assert shares[0] == ("0.0", "100.0 %", "70.0 %") and len(shares) == 10
    assert shares[7:] == [("0.7", *shares[0][1:]), ("0.8", "40.0 %", "100.0 %"), ("0.9", "40.0 %", "100.0 %")]
    # A head ranks by itself, and above its surest answer there is nothing to choose.
    assert len(thresholds({"details": {"tuned": details(*high, *low)}})) == 3  # type: ignore[typeddict-item]
    assert thresholds({"details": {"tuned": generated}}) == []  # type: ignore[typeddict-item]


def test_thresholds_are_in_the_report(handmade: Callable[..., Run]) -> None:
    run = handmade("classification", groups=30)
    answers, choice = run / "eval" / "answers", read_json(run / "eval" / "choice.json")
    (answers / "tuned_rank_0.test.jsonl").write_bytes((answers / "base_rank_k.test.jsonl").read_bytes())
    write_json(
        run / "eval" / "choice.json", {**choice, "contenders": [*choice["contenders"], "tuned_rank_0"]}
    )
    compare(run)
    write_report(run)
    rows = [[*row.values()] for row in thresholds(read_json(run / "metrics.json"))]
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    markdown = markdown_table((run / "report.md").read_text(encoding="utf-8"), "THRESHOLD=")
    assert rows and page.tables["thresholds"][1:] == markdown[1:] == rows
