"""Labels of a classification dataset: balance, rare labels, names that are hard to tell apart, conflicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations

from rapidfuzz import fuzz

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Seen
from tunebook.core.paths import show
from tunebook.core.words import phrase, words
from tunebook.data.dataset import Dataset
from tunebook.data.files.label_sets import folded

RARE = 8  # rows in train
IMBALANCE = 20  # the most frequent label has this many times as many rows as the rarest
FEWEST, NEARLY_ALL = 20, 0.9  # texts that contain their label: rows, and their share
ALIKE = 93  # percent similarity (rapidfuzz ratio)


class Labels:
    """Counts labels and remembers the label of each text."""

    def __init__(self, found: Findings, dataset: Dataset) -> None:
        self.found = found
        self.labels = dataset.labels
        self.file = show(dataset.folder / "dataset.yaml")
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.first: dict[int, tuple[int, str, int]] = {}
        self.numbers = {label: number for number, label in enumerate(dataset.labels)}
        self.words = {label: phrase(words(label)) for label in dataset.labels}
        self.rows = self.given_away = 0

    def see(self, seen: Seen) -> None:
        self.counts[seen.split][seen.answer] += 1
        if not seen.words:
            return
        self.rows += 1
        joined = phrase(seen.words)
        self.given_away += self.words[seen.answer] in joined
        number = self.numbers[seen.answer]
        key = hash(joined)
        before, place, line = self.first.setdefault(key, (number, seen.place, seen.line))
        if before != number:
            text = (
                f"{' '.join(seen.prompt.split())[:90]!r} is {seen.answer!r} here and {self.labels[before]!r}"
            )
            self.found.add(
                Finding(
                    "warning",
                    "one text, two labels",
                    f"{text} at {place}:{line}.",
                    "Use the same label for both.",
                    seen.place,
                    seen.line,
                    code="labels.one_text_two_labels",
                )
            )

    def finish(self) -> None:
        self.found.extend(alike(self.labels, self.file))
        if self.rows >= FEWEST and self.given_away >= NEARLY_ALL * self.rows:
            text = f"{self.given_away} of {self.rows} texts contain their own label."
            do = "Remove it from the texts if it will not be there when the model is used."
            self.found.add(Finding("warning", "labels in texts", text, do, self.file, code="labels.in_text"))
        train = self.counts["train"]
        if not train:
            return
        self.found.facts["labels"] = {label: train[label] for label in self.labels}

        def add(grade: Grade, kind: str, text: str, do: str = "", *, code: str) -> None:
            self.found.add(Finding(grade, kind, text, do, self.file, key="labels", code=code))

        for label in self.labels:
            if not train[label]:
                add(
                    "warning",
                    "labels without rows",
                    f"{label!r} has no train rows.",
                    "Add rows with this label, or remove it.",
                    code="labels.without_rows",
                )
            elif train[label] < RARE:
                add(
                    "warning",
                    "rare labels",
                    f"{label!r} has {train[label]} rows in train.",
                    "Add rows with this label.",
                    code="labels.rare",
                )
            if not self.counts["test"][label]:
                add(
                    "note",
                    "labels not tested",
                    f"{label!r} has no test rows, so it is not evaluated.",
                    code="labels.not_tested",
                )
        most, least = train.most_common()[0], train.most_common()[-1]
        if most[1] >= IMBALANCE * least[1]:
            add(
                "note",
                "uneven labels",
                f"{most[0]!r} has {most[1]} rows in train, {least[0]!r} has {least[1]}. Judge the model by "
                "macro F1.",
                code="labels.uneven",
            )


def alike(labels: list[str], file: str) -> list[Finding]:
    """Return a finding for each pair of labels with nearly identical names."""
    plain = {label: "".join(c for c in folded(label) if c.isalnum()) for label in labels}
    return [
        Finding(
            "warning",
            "nearly identical labels",
            f"{a!r} and {b!r} are hard to tell apart.",
            "Rename one of them, or merge the two.",
            file,
            key="labels",
            code="labels.nearly_alike",
        )
        for a, b in combinations(labels, 2)
        if plain[a] == plain[b] or fuzz.ratio(plain[a], plain[b]) >= ALIKE
    ]


def sharing(tokens: dict[str, list[int]], file: str) -> list[Finding]:
    """Return a finding for each pair of labels that have the same tokens, or one of which starts with the
    other."""
    found = []
    for (a, x), (b, y) in combinations(tokens.items(), 2):
        if sorted(x) == sorted(y):
            summary = "consist of the same tokens"
        elif x == y[: len(x)] or y == x[: len(y)]:
            summary = "start with the same tokens, up to the end of the shorter label"
        else:
            continue
        text = f"{a!r} and {b!r} {summary}: only the end-of-turn token or the token order distinguishes them."
        found.append(
            Finding(
                "note",
                "labels that share their tokens",
                text,
                file=file,
                key="labels",
                code="labels.shared_tokens",
            )
        )
    return found
