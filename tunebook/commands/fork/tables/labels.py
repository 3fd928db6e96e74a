"""Labels of a fork: what prevents them from being learned and tested.

In: the labels of every row, LABELS=. Out: notes for the user, or an error with numbers and what to type.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tunebook.commands.fork.columns import MOST_LABELS
from tunebook.core.errors import InputError, Problem
from tunebook.core.words import words
from tunebook.data.files.label_sets import (
    as_bits,
    folded,
    missing,
    ordered,
    parts_of,
    several_in_one,
    spellings,
)
from tunebook.data.files.split_names import Split
from tunebook.data.formats.values import typed
from tunebook.data.near_duplicates import normalised

FEWEST_ROWS = 30
SHOWN = 5
JOIN, WHOLE = "join", "whole"
NAME_FILES = (
    "labels.txt classes.txt label_names.txt class_names.txt label_map.json label_map.csv label_map.txt "
    "id2label.json label2id.json labels.json classes.json labels.csv classes.csv categories.txt "
    "label_mapping.csv"
).split()


@dataclass
class LabelCounts:
    """The labels of every row: how often each occurs per split, and which label each text has."""

    counts: dict[Split, Counter[str]] = field(default_factory=dict)
    texts: dict[int, dict[str, int]] = field(default_factory=dict)
    examples: dict[int, str] = field(default_factory=dict)
    places: dict[Split, str] = field(default_factory=dict)
    first: dict[tuple[Split, str], int] = field(default_factory=dict)  # line of the first row of a label

    def add(self, split: Split, text: str, label: str, line: int) -> None:
        self.first.setdefault((split, label), line)
        self.counts.setdefault(split, Counter())[label] += 1
        key = hash(normalised(words(text), text))
        has = self.texts.setdefault(key, {})
        has[label] = has.get(label, 0) + 1
        if len(has) == 2:
            self.examples.setdefault(key, text)

    def problem(
        self, text: str, column: str, label: str, split: Split | None = None, *, code: str
    ) -> InputError:
        """Return an error at the first row with `label`, in `split` where it is one of that."""
        there = next(one for one in ([split] if split else self.counts) if label in self.counts[one])
        line = self.first[there, label]
        return InputError(Problem(text, self.places.get(there), line, key=column, code=code))

    @property
    def every(self) -> Counter[str]:
        return sum(self.counts.values(), Counter[str]())


def refuse_new_labels(found: LabelCounts, column: str, own: set[Split]) -> None:
    """Raise for labels of dev or test that are missing in train; `own` are the splits that have their own
    rows.

    Raises:
        InputError: the message says how to drop their rows.
    """
    train = found.counts.get("train", Counter())
    for split in [split for split in found.counts if split in own and split != "train"]:
        if new := [label for label in found.counts[split] if label not in train]:
            names = ", ".join(f"{label!r} ({found.counts[split][label]} rows)" for label in new[:SHOWN])
            text = (
                f"labels that train lacks: {names}{_more(new)}. The model cannot learn them. Add rows to "
                "train, correct the spelling, or leave their rows out with LABELS=names.csv, a file with a "
                "line for each label (`label,name`) and no name where to leave out."
            )
            raise found.problem(text, column, new[0], split, code="labels.not_in_train")


def check_kinds(found: LabelCounts, column: str, option: str, place: str, text_column: str = "...") -> None:
    """Raise for labels that are no labels, or if there is only one.

    Args:
        text_column: the column of the texts, for the message.

    Raises:
        InputError: one label, one text, several labels in one, or free text as label.
    """
    every = found.every
    rows = sum(found.counts.get("train", Counter()).values())

    def refuse(code: str, text: str) -> None:
        raise InputError(Problem(text, place, key=column, code=code))

    if len(every) == 1:
        only = next(iter(every))
        refuse(
            "labels.only_one",
            f"all {rows} rows have the label {only!r}: there is nothing to tell apart. Name "
            f'another column: FIELDS="label=...", or add rows with other labels.',
        )
    if (found.texts and len(found.texts) == 1) and rows > 1:
        refuse(
            "rows.constant_text",
            f'all {rows} rows have the same text. Name another column: FIELDS="text=... label=...".',
        )
    if WHOLE not in shlex.split(option) and (several := several_in_one(every)):
        raise _several(several, found, column)
    if WHOLE not in shlex.split(option) and as_bits(every):
        bits = next(label for label in every if label.count("1") > 1)
        text = f"{bits!r} seems to say yes (1) or no (0) to several labels. Only one label per row can "
        text += "be learned: write its name; or make a column for each label and fork once for each; or "
        text += "LABELS=whole learns each combination as one label."
        raise found.problem(text, column, bits, code="labels.several_in_one")
    if len(every) > MOST_LABELS or len(every) > max(2, rows / 2) and rows >= FEWEST_ROWS:
        refuse(
            "labels.nearly_unique",
            f"{len(every)} different values in {sum(every.values())} rows (for example "
            f"{next(iter(every))!r:.60}): an id or a free text, not a label. Name another column: "
            f'FIELDS="label=...". To learn to write free text: FROM=chat-lora '
            f'FIELDS="prompt={typed(text_column)} completion={typed(column)}".',
        )


def check_counts(found: LabelCounts, column: str, test_share: float | None, place: str) -> None:
    """Raise for labels that cannot be learned or tested. Called after all rows have been found valid.

    Args:
        test_share: the share of train that becomes test, None where test has rows of its own.

    Raises:
        InputError: too few rows, labels with one row, or more labels than test rows.
    """
    train, every = found.counts.get("train", Counter()), found.every
    rows = sum(train.values())

    def refuse(code: str, text: str) -> None:
        raise InputError(Problem(text, place, key=column, code=code))

    if rows < FEWEST_ROWS:
        refuse(
            "rows.too_few",
            f"{rows} rows with a label: {FEWEST_ROWS} or more are needed to train and test "
            "anything. Add rows.",
        )
    if test_share and (single := [label for label, count in train.items() if count < 2]):
        names = ", ".join(map(repr, single[:SHOWN]))
        text = (
            f"{len(single)} labels have one row only ({names}{_more(single)}), which cannot be in train and "
        )
        text += "in test. Add rows, give them the name of another label, or leave them out, with "
        text += "LABELS=names.csv, a file with a line for each label (`label,name`; no name: left out)."
        raise found.problem(text, column, single[0], "train", code="labels.one_row")
    if test_share and len(every) > (tested := math.floor(rows * test_share)):
        needed = math.ceil(len(every) / test_share)
        refuse(
            "labels.too_many",
            f"{len(every)} labels, but {rows} rows give {tested} for test, less than one a "
            f"label. {needed} rows or more are needed, or a file of test rows: "
            'DATA="train=... test=...".',
        )


def _more(names: list[str]) -> str:
    return f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""


def _several(several: tuple[str, list[str]], found: LabelCounts, column: str) -> InputError:
    separator, singles = several
    joined = next(label for label in found.every if len(parts_of(label, separator)) > 1)
    parts = parts_of(joined, separator)
    first = parts[0]
    text = (
        f"{joined!r} seems to be {len(parts)} labels of one row, joined by {separator!r} "
        f"({len(found.every)} combinations of {len(singles)} labels). Only one label per row can be learned. "
        f"Write one, as {first!r} instead of {joined!r}; or make a column for each label with yes or no and "
        "fork once for each; or LABELS=whole learns each combination as one label."
    )
    return found.problem(text, column, joined, code="labels.several_in_one")


def label_notes(found: LabelCounts, option: str, beside: Path | None) -> list[str]:
    """Return what the user should know about the labels."""
    every, notes = found.every, list[str]()
    for group in spellings(every):
        names = ", ".join(f"{label!r} ({every[label]} rows)" for label in group)
        notes.append(
            "warning: labels that differ only in case, blanks, Unicode form or `.0` stay separate: "
            f"{names}. LABELS=join merges them"
        )
    if empty := missing(every):
        names = ", ".join(f"{label!r} ({every[label]} rows)" for label in empty)
        notes.append(
            f"warning: {names} may stand for no label, and is learned as one. To leave such rows out: "
            "LABELS=names.csv, with a line for each label (`label,name`) and no name behind it"
        )
    if steps := ordered(every):
        notes.append(
            f"the labels {steps[0]} to {steps[-1]} are steps of a scale, but each counts as a class of "
            f"its own: "
            f"{steps[-1] - 1} for {steps[-1]} is as wrong as {steps[0]}"
        )
    elif every and all(re.fullmatch(r"\d+", folded(label)) for label in every):
        file = next((beside / name for name in NAME_FILES if beside and (beside / name).is_file()), None)
        at = str(file) if file else "names.txt"
        is_there = f"{file.name} may name them" if file else "a file may name them, one name per line"
        notes.append(f"the labels are numbers, which say nothing to a model; {is_there}: LABELS={at}")
    elif any(re.search(r"[.,]", label) for label in every) and all(
        re.fullmatch(r"[-+]?\d*[.,]?\d+", folded(label)) for label in every
    ):
        notes.append(
            "warning: the labels are decimal numbers, each of which counts as a class of its own: a score is "
            "not learned as a number"
        )
    mixed = {key: has for key, has in found.texts.items() if len(has) > 1}
    if mixed:
        key, has = next(iter(mixed.items()))
        rows = sum(sum(has.values()) for has in mixed.values())
        names = " and ".join(f"{label!r} ({count})" for label, count in has.items())
        notes.append(
            f"{len(mixed)} texts ({rows} rows) have two labels or more, so at least one is wrong, "
            f"as in {' '.join(found.examples[key].split())[:60]!r}: {names}. `tunebook check` lists them "
            "with their lines"
        )
    if left := [
        label
        for label in found.counts.get("train", ())
        if "test" in found.counts and label not in found.counts["test"]
    ]:
        notes.append(
            f"{len(left)} labels of train have no test row and are not tested: {', '.join(left[:SHOWN])}"
            f"{_more(left)}"
        )
    return notes
