"""Conversations whose answers also occur in other conversations: greetings and goodbyes, which measure
nothing."""

from __future__ import annotations

from typing import Any

from tunebook.check.findings import Finding, Findings
from tunebook.check.rows import Seen
from tunebook.core.paths import show
from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import count
from tunebook.runs.rows import RenderedRow

MANY = 0.5  # of the scored turns


class Turns:
    """Keeps the conversations of test and counts the scored turns."""

    def __init__(self, found: Findings, dataset: Dataset, evaluation: dict[str, Any]) -> None:
        """`evaluation` is the recipe's eval.yaml."""
        self.found, self.rows = found, list[RenderedRow]()
        self.file = show(dataset.folder / "dataset.yaml")
        chosen = evaluation.get("evaluate_turns")
        self.only_last = (chosen.get("real") if isinstance(chosen, dict) else chosen) == "last"

    def see(self, seen: Seen) -> None:
        if seen.split == "test":
            self.rows.append(seen.row)

    def finish(self) -> None:
        counts = count(self.rows)
        if counts is None:
            return
        self.found.facts["turns"] = {**vars(counts), "evaluated": "last" if self.only_last else "all"}
        here = (
            f"{counts.repeated} of {counts.turns}, and {counts.last_repeated} of the {counts.last} last "
            "answers"
        )
        text = f"some test answers also occur in other conversations: {here}."
        scored = (counts.last_repeated, counts.last) if self.only_last else (counts.repeated, counts.turns)
        if scored[0] > MANY * scored[1]:
            what = "Only last answers are scored" if self.only_last else "All answers are scored"
            do = "set evaluate_turns: all in eval.yaml" if self.only_last else "look at the rows of test"
            do = f"{what}, so the metrics mostly measure repeated answers: {do}."
            self.found.add(
                Finding("warning", "repeated answers", text, do, self.file, code="turns.mostly_repeated")
            )
        elif counts.repeated:
            do = (
                ""
                if self.only_last
                else "All answers are scored; answers are generated only at turns that are not repeated."
            )
            self.found.add(Finding("note", "repeated answers", text, do, self.file, code="turns.repeated"))
