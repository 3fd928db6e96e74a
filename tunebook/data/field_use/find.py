"""How each field of a dataset's rows is used: learned, only used (for ids, groups, times, checks), or not
learned.

In: a dataset. Out: a `Use` for each path, with counts and examples. Layouts do not declare which fields they
read. Instead, one value of a row is changed at a time and the row is rendered again, which works for every
layout, reader and template. Rows with the same fields are assumed to be read the same way, and a few of each
kind are tried; fields that change what a row means are checked in every row (`refuse_ignored`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tunebook.core.errors import Problem, RowFault
from tunebook.data.dataset import Dataset
from tunebook.data.field_use.show import Fate, Use, example
from tunebook.data.files.split_names import Split, split_in
from tunebook.data.formats.leaves import GONE, Leaf, changed, leaves, objects
from tunebook.data.formats.place import Numbered
from tunebook.data.renderer import Renderer
from tunebook.data.sources import kept_and_read, untouched_rows
from tunebook.data.splits import time_of

Rows = list[Any]
MARK = " zq7kx"  # letters of no language
# rows tried per kind, rows tried per field, positions tried per field in a row
KIND_TRIES, PATH_TRIES, PLACES = 2, 4, 5
MOST_TRIES = 30_000  # maximum number of renderings
REPEATED = "repeated"  # not read itself, but its text also occurs in a field that is learned
UNREAD = ("", "")  # a value that was neutral would now be refused, because the field is not read
LONG_TEXT = 12  # minimum length of a text whose presence in another text is no coincidence
EXAMPLES = 2
STRETCH = 60  # letters, about ten words


@dataclass
class _Found:
    count: int = 0
    tried: int = 0
    examples: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # number of examples of values that are not learned
    fates: Counter[str] = field(default_factory=Counter)


def uses(dataset: Dataset, splits: Iterable[Split] = ("train",)) -> list[Use]:
    """Return the use of every field in the files of `splits`, in their order of appearance.

    Raises:
        InputError, MachineError: a file cannot be read. Unreadable rows are reported elsewhere.
    """
    finder = _Finder(dataset)
    for split in splits:
        name, rows = untouched_rows(dataset.source, dataset.folder, split)
        finder.look(name, rows)
    return finder.uses()


class _Finder:
    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.renderer = dataset, Renderer(dataset)
        self.found: dict[str, _Found] = defaultdict(_Found)
        self.whole: set[str] = set()  # paths of objects that are learned with all their content
        self.probed: set[str] = set()
        self.kinds: Counter[frozenset[str]] = Counter()
        self.tries = 0

    def look(self, name: str, rows: Iterable[Numbered]) -> None:
        """Count the fields of every row, and find out for some rows what they are used for."""
        self.name = name
        for unit in _units(rows, self.dataset.source.reader):
            try:
                self._see(unit)
            except RecursionError:
                continue  # reported when the row is rendered

    def _see(self, unit: Rows) -> None:
        there = list(leaves(unit, self.whole))
        kind = frozenset(leaf.path for leaf in there)
        new = rare = False
        if self.tries < MOST_TRIES:
            new = self.kinds[kind] < KIND_TRIES
            rare = new or any(self.found[path].tried < PATH_TRIES for path in kind)
        base = self._outcome(unit) if rare else None
        if base and base is not UNREAD:
            self.kinds[kind] += 1
            self._probe(unit)
            there = list(leaves(unit, self.whole))
        by_path: dict[str, list[Leaf]] = defaultdict(list)
        for leaf in there:
            by_path[leaf.path].append(leaf)
        for path, some in by_path.items():
            found = self.found[path]
            found.count += len(some)
            for leaf in some if len(found.examples) < EXAMPLES else ():
                text = example(leaf.value)
                if text not in found.examples and len(found.examples) < EXAMPLES:
                    found.examples.append(text)
            if base and base is not UNREAD and (new or found.tried < PATH_TRIES):
                found.tried += 1
                step = max(1, len(some) // PLACES)
                tried = {leaf.at: leaf for leaf in (*some[::step], some[-1])}
                for leaf in tried.values():
                    fate = self._fate(unit, leaf, base)
                    found.fates[fate] += 1
                    if fate == "not learned" and len(found.missed) < EXAMPLES:
                        found.missed.append(example(leaf.value))

    def _probe(self, unit: Rows) -> None:
        """Find the objects of which every key is learned: tools, the arguments of a call, an answer."""
        for path, at, _ in objects(unit):
            inside = any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in self.whole)
            if len(at) < 2 or path in self.probed or inside:
                continue
            self.probed.add(path)
            outcome = self._outcome(changed(unit, (*at, MARK.strip()), MARK.strip()))
            if outcome and MARK.strip() in outcome[0]:
                self.whole.add(path)

    def _fate(self, unit: Rows, leaf: Leaf, base: tuple[str, str]) -> str:
        if leaf.path in self.whole:
            return "learned"
        fate: Fate = "not learned"
        for value in _others(leaf.value):
            outcome = self._outcome(changed(unit, leaf.at, value))
            if outcome is UNREAD or (outcome is None and value is GONE):
                continue  # the field is required, which does not show what it is used for
            if outcome is not None and outcome[0] != base[0]:
                return "learned"
            if outcome is None or outcome[1] != base[1]:
                fate = "used"  # used for ids and groups, or the row cannot be read with another value
        text = json.dumps(leaf.value, ensure_ascii=False) if isinstance(leaf.value, str) else None
        if fate == "used" and text and text in base[0]:
            return "learned"  # cannot be changed: a role, a label
        if fate == "used" and text and self.dataset.source.window and _is_cut(text, base[0]):
            return "learned"  # a window of a passage, which has to contain the answer
        return REPEATED if fate == "not learned" and _stands_in(leaf, base[0]) else fate

    def _outcome(self, unit: Rows) -> tuple[str, str] | None:
        """Return what is learned from the rows and what else is known of them, as JSON; None if they are
        invalid."""
        self.tries += 1
        source, said, known = self.dataset.source, [], []
        try:
            rows = list(kept_and_read(source, self.dataset.folder, enumerate(unit, 1), self.name))
        except (KeyError, TypeError):  # a field that oasst_best_paths needs is missing
            return None
        for number, row in rows:
            if isinstance(row, Problem):
                return UNREAD if row.code == "rows.meaning_not_read" else None
            try:
                made = self.renderer.row(row, f"row-{number}")
            except RowFault:
                return None
            try:
                time: Any = time_of(row, source.by_time) if source.by_time else None
            except RowFault:
                time = "not a time"
            answers = {key: made["gold"].get(key) for key in ("answer", "answers")}
            said.append([made["messages"], made.get("rejected"), made.get("tools"), answers])
            own = split_in(row.get(source.split_column)) if source.split_column else None
            known.append([made["id"], made["group"], time, made["gold"], own])
        return json.dumps(said, ensure_ascii=False), json.dumps(known, ensure_ascii=False, default=str)

    def uses(self) -> list[Use]:
        drop = set(self.dataset.source.drop)
        result = []
        for place, found in self.found.items():
            if not found.count:
                continue
            path = place.removeprefix("[].")  # of the rows that are read together
            path = path if path.isprintable() else repr(path)[1:-1]
            fates = found.fates
            fate: Fate = "not learned"
            if not fates["not learned"]:
                learned = fates["learned"] or fates[REPEATED]
                fate = "learned" if learned else "used" if fates["used"] else fate
            plain = path.replace("[]", "")
            dropped = plain in drop or bool(drop.intersection(plain.split(".")))
            tried = sum(fates.values())
            partly = fate == "not learned" and fates[fate] < tried
            share = f"{fates[fate]} of {tried}" if partly else ""
            result.append(Use(path, fate, found.count, found.missed or found.examples, share, dropped))
        return result


def _others(value: Any) -> list[Any]:
    """Return values that a field could have instead of `value`."""
    if isinstance(value, bool):
        return [not value, GONE]
    if isinstance(value, (int, float)):
        return [value + 1, 0, -7, 10**9, MARK.strip(), GONE]
    if isinstance(value, str):
        flip = {"true": "false", "false": "true", "0": "1", "1": "0"}.get(value.strip().lower())
        return [*([flip] if flip else []), value + MARK, MARK.strip(), GONE]
    return [MARK.strip(), GONE]


def _stands_in(leaf: Leaf, said: str) -> bool:
    """Return whether the learned text contains this value anyway, from another field with the same value."""
    key = next((step for step in reversed(leaf.at) if isinstance(step, str)), "")
    if not isinstance(leaf.value, (str, int, float, bool)):
        return False
    if json.dumps({key: leaf.value}, ensure_ascii=False)[1:-1] in said:
        return True
    text = str(leaf.value).strip()
    return len(text) >= LONG_TEXT and json.dumps(text, ensure_ascii=False)[1:-1] in said


def _is_cut(text: str, said: str) -> bool:
    """Return whether the learned text contains a stretch of a long text (both as JSON)."""
    stretches = (text[at : at + STRETCH] for at in range(1, len(text) - STRETCH, STRETCH))
    return any(one in said for one in stretches)


def _units(rows: Iterable[Numbered], reader: str | None) -> Iterator[Rows]:
    """Yield rows that are read together: usually one; a paragraph of an article; a tree of messages."""
    trees: dict[Any, Rows] = defaultdict(list)
    for _, row in rows:
        if not isinstance(row, dict):
            continue
        if reader == "oasst_best_paths":
            trees[row.get("message_tree_id")].append(row)
        elif reader == "squad" and isinstance(row.get("paragraphs"), list):
            for paragraph in row["paragraphs"]:
                yield [{**row, "paragraphs": [paragraph]}]
        else:
            yield [row]
    yield from trees.values()
