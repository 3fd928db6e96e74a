"""Names of labels, from a file given with LABELS= or from a dataset card next to the data.

In: LABELS= and the labels of every row. Out: `source.label_names` of dataset.yaml, and notes for the user.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tunebook.commands.fork.tables.labels import JOIN, SHOWN, WHOLE, LabelCounts
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import from_json
from tunebook.data.files.label_names import LabelNames, read_names
from tunebook.data.files.label_sets import folded, spellings

WORD_KEY = "--labels (LABELS=)"


def label_names(
    option: str, found: LabelCounts, column: str, beside: Path | None
) -> tuple[LabelNames, list[str]]:
    """Return the name of each label ({}: unchanged) and notes.

    Args:
        option: the value of LABELS=: a file, `join`, `whole`, or a file and one of the two.
        beside: the folder of the data, whose dataset card may name the classes.

    Raises:
        InputError: there is no such file, or it does not name the labels.
    """
    values, notes = list(found.every), list[str]()
    names: LabelNames = {}
    if given := names_file(option):
        names = read_names(given, values)
        left = [value for value, name in names.items() if name is None]
        notes.append(f"labels are named after {given}: {_some({v: str(n) for v, n in names.items() if n})}")
        if left:
            rows = sum(found.every[value] for value in left)
            notes.append(
                f"{rows} rows are dropped, because their label has no name in {given}: "
                f"{', '.join(left[:SHOWN])}"
            )
    elif beside and (listed := card_names(beside).get(column)):
        numbers = [
            int(text) if re.fullmatch(r"[0-9]{1,18}", text := folded(value)) else len(listed)
            for value in values
        ]
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
        notes.append(
            "different spellings merged into the most frequent one (LABELS=join): "
            f"{'; '.join(joined) or 'none'}"
        )
    return names, notes


def names_file(option: str) -> Path | None:
    """Return the file that LABELS= names, None where it names none.

    Raises:
        InputError: it is no word of LABELS= and not there, or more than one is named.
    """
    try:
        given = [word for word in shlex.split(option) if word not in (JOIN, WHOLE)]
    except ValueError as error:
        raise InputError(Problem(f"{error} in {option!r}.", key=WORD_KEY, code="option.bad_labels")) from None
    if len(given) > 1:
        text = f"expected a file, {JOIN} or {WHOLE} (got {option!r})."
        raise InputError(Problem(text, key=WORD_KEY, code="option.bad_labels"))
    if not given:
        return None
    path = Path(given[0]).expanduser()
    if not path.is_file():
        text = f"{given[0]}: no such file. Give a file with the names of labels, {JOIN} or {WHOLE}."
        raise InputError(Problem(text, key=WORD_KEY, code="fork.no_such_file"))
    return path


def _some(names: dict[str, str]) -> str:
    some = [f"{value} is {name}" for value, name in list(names.items())[:SHOWN]]
    return ", ".join(some) + (", ..." if len(names) > SHOWN else "")


def card_names(folder: Path) -> dict[str, list[str]]:
    """Return the names of classes, by column, listed in a dataset's card or `dataset_infos.json`."""
    found: dict[str, list[str]] = {}
    for home in (folder, folder.parent):
        for file in ("dataset_infos.json", "dataset_info.json"):
            if (home / file).is_file():
                try:
                    _features(from_json((home / file).read_text(encoding="utf-8")), found)
                except ValueError:
                    continue
        if (home / "README.md").is_file():
            text = (home / "README.md").read_text(encoding="utf-8", errors="replace")
            if match := re.match(r"---\n(.*?)\n---", text, re.DOTALL):
                try:
                    _features(yaml.safe_load(match[1]), found)
                except (yaml.YAMLError, ValueError, RecursionError):
                    continue
    return found


def _features(value: Any, found: dict[str, list[str]]) -> None:
    """Collect the names of class labels in the three notations used by `datasets`."""
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
