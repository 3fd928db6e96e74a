"""Evaluation practice."""

from __future__ import annotations

import textwrap

from scripts.guide_blocks.registry import RESULTS, Sources, block
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.evaluation.pairs import agreement_in_words
from tunebook.metrics.scoring import chrf, squad
from tunebook.report import names
from tunebook.report.format import number

ANSWERS = (
    ("green", "green"),
    ("green", "The slip is green."),
    ("14 days", "for 14 days"),
    ("14 days", "two weeks"),
    ("Not in the handbook.", "green"),
)


@block("evaluation/task-specific-metrics", "by-hand")
def by_hand(sources: Sources) -> str:
    """Five answers scored by each metric."""
    sources.read[ROOT / "tunebook" / "metrics" / "scoring.py"] = ""
    rows = []
    for gold, answer in ANSWERS:
        scored = squad([gold], answer, "Not in the handbook.")
        rows.append(
            {
                "reference": gold,
                "answer": answer,
                "exact match": number("em", scored["em"]),
                "F1 (shared words)": number("f1", scored["f1"]),
                "chrF": number("chrf", chrf(answer, gold)),
            }
        )
    return markdown_table(rows)


@block("evaluation/baseline-vs-fine-tuned", "detectable")
def detectable(sources: Sources) -> str:
    """The difference of each run, its interval, and the smallest difference that test can detect."""
    rows = []
    for recipe in ("classify-lora", "qa-lora", "chat-lora", "chat-dpo"):
        run = sources.run(recipe)
        for other in (run["baseline"], names.SVM):
            for one in run["comparisons"]:
                if (one["b"], one["metric"]) != (other, run["primary"]):
                    continue
                metric = run["primary"]
                low, high = (names.signed(metric, one[end]) for end in ("low", "high"))
                difference = f"{names.amount(metric, one['difference'])} ({low} to {high})"
                rows.append(
                    {
                        "recipe": recipe,
                        "against": names.contender(other, run["baseline"]),
                        "metric": names.metric(metric),
                        "difference": f"{'-' if one['difference'] < 0 else '+'}{difference}",
                        "smallest detectable difference": names.amount(metric, one["detectable"]),
                        "test rows, groups": f"{one['n']}, {one['groups']}",
                    }
                )
    return markdown_table(rows)


@block("evaluation/baseline-vs-fine-tuned", "coverage")
def coverage(sources: Sources) -> str:
    """How often a 95 % interval covers the true value, by what is resampled."""
    found = sources.benchmark("interval_coverage")["coverage"]
    return markdown_table(
        [
            {
                "95 % interval by": one["method"],
                "groups": str(one["groups"]),
                "covers the true value": f"{one['covered']:.1%}".replace("%", " %"),
            }
            for one in found
        ]
    )


@block("evaluation/manual-review", "votes")
def two_reviewers(sources: Sources) -> str:
    """The votes of each reviewer, of both together, and their agreement."""
    command = ".venv/bin/python benchmarks/review_agreement.py chat-lora/latest --reviewers ..."
    found = sources.json(RESULTS / "review_agreement.json", command)
    both = {"name": "both together", **found}
    table = markdown_table(
        [
            {
                "reviewer": one["name"],
                "pairs": str(one["n"]),
                "fine-tuned preferred": str(one["wins"]),
                "baseline preferred": str(one["losses"]),
                "no difference": str(one["ties"]),
            }
            for one in (*found["reviewers"], both)
        ]
    )
    (two,) = found["agreement"]
    text = textwrap.fill(f"Reviewers {agreement_in_words(two)}. {found['who']}", 88)
    return f"{table}\n\n{text}"
