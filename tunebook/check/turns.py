"""Answers that teach nothing, or the wrong thing: those that also occur in other conversations, such as
greetings and goodbyes; those that a service wrote in place of a model; those with a leftover of another
format; and short ones that do not occur in their passage."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tunebook.check.findings import Finding, Findings
from tunebook.check.rows import Seen
from tunebook.core.paths import show
from tunebook.core.words import DECIDED, phrase, words
from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import count
from tunebook.data.stretches import supervised
from tunebook.runs.rows import RenderedRow

MANY = 0.5  # of the scored turns
FEWEST, NEARLY_ALL, FEW = 20, 0.9, 0.2  # rows; shares of the rows
# What separated prompt and answer for completion models: `Assistant: `, ` END`, `\n\n###\n\n`, ` ->`.
SPEAKER = re.compile(r"(?:#{2,} ?)?[A-Z]\w{0,20}(?: \w{1,20})?:(?=\s)")
STOP = re.compile(r"(?<=\s)(?:[A-Z]{3,}|#{2,}|-{1,2}>|={2,}>?)$")
SHORT = 8  # words
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


class Leftovers:
    """Finds the same speaker's name or separator at the edge of nearly all answers or prompts."""

    def __init__(self, found: Findings, dataset: Dataset) -> None:
        self.found, self.file, self.rows = found, show(dataset.folder / "dataset.yaml"), 0
        self.edges: dict[str, Counter[str]] = {
            "answers begin": Counter(),
            "answers end": Counter(),
            "prompts end": Counter(),
        }

    def see(self, seen: Seen) -> None:
        self.rows += 1
        edges = (SPEAKER.match(seen.answer), STOP.search(seen.answer), STOP.search(seen.prompt.rstrip()))
        for counts, edge in zip(self.edges.values(), edges, strict=True):
            if edge:
                counts[edge[0]] += 1

    def finish(self) -> None:
        for where, counts in self.edges.items():
            for edge, rows in counts.most_common(1):
                if rows < FEWEST or rows < NEARLY_ALL * self.rows:
                    continue
                learned = "expect" if where.startswith("prompts") else "write"
                text = (
                    f"{rows} of {self.rows} {where} with {edge!r}, which the model would learn to {learned}."
                )
                do = "Remove it from the rows if it is left over from another format."
                found = Finding("warning", "leftovers", text, do, self.file, code="turns.leftover")
                self.found.add(found)


class NotInPassage:
    """Counts short answers to questions about a passage that the passage does not contain."""

    def __init__(self, found: Findings, dataset: Dataset) -> None:
        self.found, self.file = found, show(dataset.folder / "dataset.yaml")
        self.no_answer = dataset.no_answer
        self.rows = self.contained = 0
        self.answers = set[str]()

    def see(self, seen: Seen) -> None:
        golds = seen.row["gold"].get("answers") or [seen.answer]
        texts = [phrase(words(gold)) for gold in golds]
        if seen.answer == self.no_answer or texts[0].strip() in DECIDED or len(texts[0].split()) > SHORT:
            return
        self.rows += 1
        self.answers.add(texts[0])
        passage = phrase(seen.words)
        self.contained += any(text in passage for text in texts)

    def finish(self) -> None:
        few = len(self.answers) < FEW * self.rows  # labels rather than answers
        if self.rows < FEWEST or few or self.contained >= FEW * self.rows:
            return
        text = f"only {self.contained} of {self.rows} short answers occur in their passage."
        do = "Check that passages belong to their questions: otherwise the model learns to invent answers."
        self.found.add(Finding("warning", "passages", text, do, self.file, code="turns.not_in_passage"))
