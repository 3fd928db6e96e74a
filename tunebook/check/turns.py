"""Answers that teach nothing: those that also occur in other conversations, such as greetings and goodbyes,
and those that a service wrote where a model's answer should be."""

from __future__ import annotations

import re
from typing import Any

from tunebook.check.findings import Finding, Findings
from tunebook.check.rows import Seen
from tunebook.core.paths import show
from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import count
from tunebook.data.stretches import supervised
from tunebook.runs.rows import RenderedRow

MANY = 0.5  # of the scored turns
# What APIs of models write in place of an answer: a content filter's notice, limits, failures.
OF_A_SERVICE = re.compile(
    r"""content\ management\ policy | ResponsibleAIPolicyViolation
    | "?finish_reason"?:\s*"?(length|content_filter)
    | content_filter_results? | [Rr]ate\ limit\ reached\ for | exceeded\ your\ current\ quota
    | maximum\ context\ length\ is\ \d+\ tokens | (model|engine)\ is\ currently\ overloaded
    | upstream\ connect\ error | ^Error\ code:\ \d{3} | ^\[?(blocked|content\ (removed|filtered))""",
    re.VERBOSE,
)


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


class OfAService:
    """Finds answers that are learned and that a service wrote in place of the model."""

    def __init__(self, found: Findings) -> None:
        self.found = found

    def see(self, seen: Seen) -> None:
        for turn in supervised(seen.row, "rejected" in seen.row):
            if match := OF_A_SERVICE.search(turn["content"]):
                text = f"an answer seems to be a service's message, not a model's answer: {match[0]!r}."
                do = "Leave the row out, or write the answer that should be learned."
                kind = "answers that a service wrote"
                found = Finding("warning", kind, text, do, seen.place, seen.line, code="turns.of_a_service")
                self.found.add(found)
                return

    def finish(self) -> None:
        """Add nothing: findings were added row by row."""
