"""Labels of a fork: their names, and what stands in the way of learning and testing them.

In: the labels of every row, LABELS=, and files beside the data that name classes. Out: `source.label_names`
of dataset.yaml, notes for the person, or an error with numbers and what to type.
"""

from __future__ import annotations

import ast
import json
import math
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tunebook.commands.fork.columns import MOST_LABELS, NAMES
from tunebook.core.errors import InputError, Problem
from tunebook.core.words import words
from tunebook.data.files.label_names import LabelNames, read_names
from tunebook.data.files.label_sets import folded, missing, ordered, several_in_one, spellings
from tunebook.data.formats.fields import plain_name
from tunebook.data.near_duplicates import normalised
from tunebook.data.sources import Split

FEWEST_ROWS = 30
SHOWN = 5
JOIN, WHOLE = "join", "whole"
NAME_FILES = (
    "labels.txt classes.txt label_names.txt class_names.txt label_map.json label_map.csv label_map.txt "
    "id2label.json label2id.json labels.json classes.json labels.csv classes.csv categories.txt "
    "label_mapping.csv"
).split()
LIST_NAMES = frozenset(
    [*NAMES["label"].split(), "labels", "categories", "tags", "topics", "intents", "classes"]
)
WORD_KEY = "--labels (LABELS=)"


@dataclass
class LabelCounts:
    """The labels of every row: how often in each split, and which label each text has."""

    counts: dict[Split, Counter[str]] = field(default_factory=dict)
    texts: dict[int, dict[str, int]] = field(default_factory=dict)
    examples: dict[int, str] = field(default_factory=dict)
    places: dict[Split, str] = field(default_factory=dict)

    def add(self, split: Split, text: str, label: str) -> None:
        self.counts.setdefault(split, Counter())[label] += 1
        key = hash(normalised(words(text), text))
        has = self.texts.setdefault(key, {})
        has[label] = has.get(label, 0) + 1
        if len(has) == 2:
            self.examples.setdefault(key, text)

    @property
    def every(self) -> Counter[str]:
        return sum(self.counts.values(), Counter[str]())


def label_names(
    option: str, found: LabelCounts, column: str, beside: Path | None
) -> tuple[LabelNames, list[str]]:
    """Return the name of each label ({}: as they are) and notes.

    Args:
        option: what LABELS= says: a file, `join`, `whole`, or a file and one of them.
        beside: the folder of the data, whose dataset card may name the classes.

    Raises:
        InputError: there is no such file, or it does not name the labels.
    """
    given = [word for word in shlex.split(option) if word not in (JOIN, WHOLE)]
    values, notes = list(found.every), list[str]()
    names: LabelNames = {}
    if len(given) > 1:
        text = f"expected a file, {JOIN} or {WHOLE} (got {option!r})."
        raise InputError(Problem(text, key=WORD_KEY, code="option.bad_labels"))
    if given:
        names = read_names(Path(given[0]).expanduser(), values)
        left = [value for value, name in names.items() if name is None]
        notes.append(
            f"labels are named after {given[0]}: {_some({v: str(n) for v, n in names.items() if n})}"
        )
        if left:
            rows = sum(found.every[value] for value in left)
            notes.append(
                f"{rows} rows are left out, whose label has no name in {given[0]}: {', '.join(left[:SHOWN])}"
            )
    elif beside and (listed := card_names(beside).get(column)):
        numbers = [int(folded(value)) if folded(value).isdigit() else len(listed) for value in values]
        if values and max(numbers) < len(listed):
            names = {value: listed[number] for value, number in zip(values, numbers, strict=True)}
            notes.append(
                f"labels are named after the dataset card: {_some({v: str(n) for v, n in names.items()})}"
            )
    if JOIN in shlex.split(option):
        counts: Counter[str] = Counter()
        for value, number in found.every.items():
            if (name := names.get(value, value)) is not None:
                counts[name] += number
        first = {one: group[0] for group in spellings(counts) for one in group}
        names = {v: None if (n := names.get(v, v)) is None else first.get(n, n) for v in values}
        joined = [" and ".join(map(repr, group)) for group in spellings(counts)]
        notes.append(f"spellings joined into the most frequent (LABELS=join): {'; '.join(joined) or 'none'}")
    return names, notes


def _some(names: dict[str, str]) -> str:
    some = [f"{value} is {name}" for value, name in list(names.items())[:SHOWN]]
    return ", ".join(some) + (", ..." if len(names) > SHOWN else "")


def card_names(folder: Path) -> dict[str, list[str]]:
    """Return the names of classes that a dataset's card or `dataset_infos.json` lists, by column."""
    found: dict[str, list[str]] = {}
    for home in (folder, folder.parent):
        for file in ("dataset_infos.json", "dataset_info.json"):
            if (home / file).is_file():
                try:
                    _features(json.loads((home / file).read_text(encoding="utf-8")), found)
                except ValueError:
                    continue
        if (home / "README.md").is_file():
            text = (home / "README.md").read_text(encoding="utf-8", errors="replace")
            if match := re.match(r"---\n(.*?)\n---", text, re.DOTALL):
                try:
                    _features(yaml.safe_load(match[1]), found)
                except yaml.YAMLError:
                    continue
    return found


def _features(value: Any, found: dict[str, list[str]]) -> None:
    """Collect the names of class labels in the three forms in which `datasets` writes them."""
    if isinstance(value, list):
        for item in value:
            _features(item, found)
    elif isinstance(value, dict):
        for name, inside in value.items():
            if isinstance(inside, dict) and inside.get("_type") == "ClassLabel" and inside.get("names"):
                found.setdefault(name, list(map(str, inside["names"])))
        kind = value.get("dtype")
        if "name" in value and isinstance(kind, dict) and isinstance(kind.get("class_label"), dict):
            names = kind["class_label"].get("names", {})
            listed = [str(names[key]) for key in sorted(names, key=int)] if isinstance(names, dict) else names
            found.setdefault(str(value["name"]), list(map(str, listed)))
        for inside in value.values():
            _features(inside, found)


def refuse_new_labels(found: LabelCounts, column: str, own: set[Split]) -> None:
    """Refuse labels of dev or test that train lacks; `own` are the splits that have rows of their own.

    Raises:
        InputError: it says how to leave their rows out.
    """
    train = found.counts.get("train", Counter())
    for split in [split for split in found.counts if split in own and split != "train"]:
        if new := [label for label in found.counts[split] if label not in train]:
            names = ", ".join(f"{label!r} ({found.counts[split][label]} rows)" for label in new[:SHOWN])
            text = (
                f"labels that train lacks: {names}{_more(new)}. Nothing could learn them: add rows to train, "
                "correct the spelling, or leave their rows out with LABELS=names.csv, a file with a line for "
                "each label (`label,name`) and no name where to leave out."
            )
            raise InputError(Problem(text, found.places.get(split), key=column, code="labels.not_in_train"))


def check_kinds(found: LabelCounts, column: str, option: str, place: str) -> None:
    """Refuse labels that are none, or of which there is one only.

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
        _refuse_several(several, every, refuse)
    if len(every) > MOST_LABELS or len(every) > max(2, rows / 2) and rows >= FEWEST_ROWS:
        refuse(
            "labels.nearly_unique",
            f"{len(every)} different values in {sum(every.values())} rows (for example "
            f"{next(iter(every))!r:.60}): an id or a free text, not a label. Name another column: "
            f'FIELDS="label=...". To learn to write free text: FROM=chat-lora FIELDS="prompt=... '
            f'completion={column}".',
        )


def check_counts(found: LabelCounts, column: str, test_share: float | None, place: str) -> None:
    """Refuse labels that cannot be learned or tested. Call it once no row is at fault.

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
        refuse(
            "labels.one_row",
            f"{len(single)} labels have one row only ({names}{_more(single)}), which cannot be "
            "in train and in test. Add rows, give them the name of another label, or leave them out, with "
            "LABELS=names.csv, a file with a line for each label (`label,name`; no name: left out).",
        )
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


def _refuse_several(several: tuple[str, list[str]], every: Counter[str], refuse: Any) -> None:
    separator, singles = several
    joined = next(label for label in every if separator in label)
    first = joined.split(separator)[0].strip()
    refuse(
        "labels.several_in_one",
        f"{joined!r} seems to be {joined.count(separator) + 1} labels of one row, "
        f"joined by {separator!r} ({len(every)} combinations of {len(singles)} labels). One label a row is "
        f"learned. Write one, as {first!r} in place of {joined!r}; or make a column for each label with "
        f"yes or "
        f'no and fork once for each: FIELDS="label={first}"; or LABELS=whole learns each combination as a '
        "label of its own.",
    )


def label_notes(found: LabelCounts, option: str, beside: Path | None) -> list[str]:
    """Return what a person should know of the labels."""
    every, notes = found.every, list[str]()
    for group in spellings(every):
        names = ", ".join(f"{label!r} ({every[label]} rows)" for label in group)
        notes.append(
            f"warning: labels that differ only in case, blanks, Unicode form or `.0` stay separate: {names}. "
            "LABELS=join makes one of them"
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
        is_there = f"{file.name} may name them" if file else "a file may name them, one name a line"
        notes.append(f"the labels are numbers, which say nothing to a model; {is_there}: LABELS={at}")
    mixed = {key: has for key, has in found.texts.items() if len(has) > 1}
    if mixed:
        key, has = next(iter(mixed.items()))
        rows = sum(sum(has.values()) for has in mixed.values())
        names = " and ".join(f"{label!r} ({count})" for label, count in has.items())
        notes.append(
            f"warning: {len(mixed)} texts ({rows} rows) have two labels or more, so that one of them is "
            f"wrong, as "
            f"{' '.join(found.examples[key].split())[:60]!r}: {names}. `tunebook check` lists them with "
            f"their lines"
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


def refuse_lists(rows: list[dict[str, Any]], column: str | None, there: list[str], place: str) -> None:
    """Refuse a column of lists as the label: the one given, or the one that is called so.

    Raises:
        InputError: it shows a row as it stands and as it should be.
    """
    for name in [column] if column else [one for one in there if plain_name(one) in LIST_NAMES]:
        values = [_listed(row.get(name)) for row in rows]
        lists = [value for value in values if value is not None]
        if 2 * len(lists) <= len(values):
            continue
        most = max(lists, key=len)
        single = all(len(value) < 2 for value in lists)
        kinds = {str(one) for value in lists for one in value}
        text = (
            f"`{name}` holds a list of {'one label' if single else 'labels'}, as {most!r:.80}; one label "
            f"a row is learned. Write one, as {str(most[0]) if most else ''!r} in place of {most!r:.80}"
        )
        if not single:
            text += f"; or make a column for each of the {len(kinds)} labels with yes or no, and fork "
            text += f'once for each: FIELDS="label={next(iter(map(str, most)))}"'
        raise InputError(Problem(f"{text}.", place, key=name, code="labels.several_in_one"))


def _listed(value: Any) -> list[Any] | None:
    """Return a list of labels, also one in a text, as tables hold it; None for any other value."""
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]":
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    plain = isinstance(value, list) and not any(isinstance(one, (dict, list)) for one in value)
    return value if plain else None
