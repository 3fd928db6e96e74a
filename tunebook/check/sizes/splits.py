"""What the test split can show: the smallest difference between two models that this number of rows and
groups can distinguish from chance, before anything is trained; and how many passage windows contain their
answer."""

from __future__ import annotations

from collections import Counter

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Seen
from tunebook.data.formats.windows import held
from tunebook.metrics.intervals import FEWEST, expected_detectable

# Standard deviation of the difference between two models' scores of a row, as in the published runs
# (recipes/*/results: 0.24 to 0.52 of accuracy, 0.21 to 0.36 of F1, 0.13 to 0.15 bits per byte).
SPREAD = {"classification": 0.4, "qa": 0.33, "chat": 0.14, "preference": 0.4}
METRIC = {"classification": "accuracy", "qa": "F1", "preference": "accuracy of preferences"}
HOPED_FOR = {"chat": 0.1}  # bits per byte for chat, 15 points otherwise: gains that people hope for
POINTS = 0.15
FEW_DEV = 20
HALF = 0.5  # share of test windows; if fewer contain an answer, the score mostly measures the windows


class SplitSizes:
    """Counts rows and groups of dev and test."""

    def __init__(self, found: Findings, task: str, place: str) -> None:
        """`place`: dataset.yaml, for messages."""
        self.found, self.task, self.place = found, task, place
        self.groups: dict[str, Counter[str]] = {"dev": Counter(), "test": Counter()}

    def see(self, seen: Seen) -> None:
        if seen.split in self.groups:
            self.groups[seen.split][seen.family or str(seen.row["group"])] += 1

    def finish(self) -> None:
        rows, groups = self.groups["test"].total(), len(self.groups["test"])
        size = f"test has {_count(rows, 'row')} in {_count(groups, 'group')}"
        kind, file = "size of dev and test", self.place
        least = expected_detectable(rows, groups, SPREAD[self.task])
        self.found.facts["test"] = {"rows": rows, "groups": groups, "can_show": least}
        if least is None:
            text = (
                f"{size}. With fewer than {FEWEST} groups, no difference can be distinguished from chance, "
                "so the verdict can only be that no difference is shown."
            )
            do = "Add rows, a larger test_share, or group rows by another field (GROUP=)."
            self.found.add(Finding("error", kind, text, do, file, code="split.shows_nothing"))
        else:
            what = "loss" if self.task == "chat" else METRIC[self.task]
            shown = f"{least:.2f} bits per byte" if self.task == "chat" else f"{least * 100:.0f} points"
            text = f"{size}; the smallest difference it can show is about {shown} of {what}."
            if least > HOPED_FOR.get(self.task, POINTS):
                do = "Add test rows or groups to show a smaller difference."
                self.found.add(Finding("warning", kind, text, do, file, code="split.shows_little"))
            else:
                self.found.add(Finding("note", kind, text, "", file, code="split.shows"))
        dev = self.groups["dev"].total()
        if dev < FEW_DEV:
            text = (
                f"dev has only {_count(dev, 'row')}, on which the baseline's prompt and the checkpoint are "
                "chosen."
            )
            do = f"With {FEW_DEV} rows or more, the choice depends less on chance."
            self.found.add(Finding("warning", kind, text, do, file, code="split.few_dev_rows"))


class Windows:
    """Counts the passage windows that contain an answer (tunebook/data/formats/windows.py)."""

    def __init__(self, found: Findings, words: int, place: str) -> None:
        self.found, self.words, self.place = found, words, place
        self.holding: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()

    def see(self, seen: Seen) -> None:
        found, of = held([seen.row])
        self.holding[seen.split] += found
        self.answered[seen.split] += of

    def finish(self) -> None:
        counted = {split: f"{self.holding[split]} of {self.answered[split]}" for split in self.answered}
        kind, file, key = "passage windows", self.place, "source.window"
        without = self.answered["train"] - self.holding["train"]
        if without:
            text = f"{without} train answers do not occur verbatim in their passage, so their windows are "
            text += f"chosen by the question; {counted['train']} train windows contain an answer."
            do = "Copy answers verbatim from the passage, or the model learns to make them up."
            self.found.add(Finding("warning", kind, text, do, file, key=key, code="windows.answer_not_found"))
        if self.answered["test"]:
            few = self.holding["test"] < HALF * self.answered["test"]
            text = f"{counted['test']} test windows, chosen by the question alone, contain an answer. The "
            text += "other rows count in the score, too, for every model."
            do = f"Windows of more than {self.words} words contain more answers." if few else ""
            grade: Grade = "warning" if few else "note"
            self.found.add(Finding(grade, kind, text, do, file, key=key, code="windows.hold_answer"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
