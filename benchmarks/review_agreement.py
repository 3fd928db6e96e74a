"""Publish the votes of a blind review by two reviewers, and how far they agree.

    make recipe NAME=chat-lora TIER=trial
    make review RUN=chat-lora/latest REVIEWER=one    # the first thirty pairs
    make review RUN=chat-lora/latest REVIEWER=two    # the same pairs, without the first one's votes
    .venv/bin/python benchmarks/review_agreement.py chat-lora/latest --reviewers "who they were"

It writes benchmarks/results/review_agreement.json from the run's votes.
"""

from __future__ import annotations

import argparse
from typing import Any

from tunebook.core.errors import InputError
from tunebook.core.files import write_json
from tunebook.core.paths import ROOT
from tunebook.evaluation.pairs import review_summary
from tunebook.runs.run import find

TARGET = ROOT / "benchmarks" / "results" / "review_agreement.json"


def collected(name: str, reviewers: str) -> dict[str, Any]:
    """Return the votes of a run: of all, of each reviewer, and the agreement.

    Raises:
        InputError: no such run, or fewer than two reviewers read the same pair.
    """
    run = find(name, "report")
    counted = review_summary(run)
    if not counted or not counted["agreement"]:
        raise InputError(f"{name}: no pair was read by two reviewers.", code="run.reviewer")
    settings = run.settings()
    return {
        "command": "benchmarks/review_agreement.py",
        "recipe": settings["recipe"],
        "tier": settings["tier"],
        "run": run.folder.name,
        "who": reviewers,
        **counted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="<recipe>/latest, <recipe>/<id> or a folder")
    parser.add_argument("--reviewers", required=True, help="who read the answers, in one sentence")
    options = parser.parse_args()
    write_json(TARGET, collected(options.run, options.reviewers))


if __name__ == "__main__":
    main()
