"""One pass over every row of a dataset: it reports faulty rows and passes the rest to the other checks.

Dev and test come first, because train is compared with them; train is streamed, so that a million rows need
no more memory than their keys.
"""

from __future__ import annotations

import contextlib
import pickle
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, Protocol

from tunebook.check.findings import ROWS, Finding, Findings, of_problem
from tunebook.core.errors import InputError, MachineError, Problem, TunebookError
from tunebook.core.words import words
from tunebook.data import cache, near_duplicates
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import Split
from tunebook.data.formats.bad_rows import bad_count, is_fatal
from tunebook.data.lengths import Counting
from tunebook.data.near_duplicates import NearPairs
from tunebook.data.render import (
    Located,
    each_row,
    held_out,
    in_training,
    looks_for_near,
    of_split,
    split_from_train,
)
from tunebook.data.stretches import EACH, turn_kinds
from tunebook.data.tool_calls import texts
from tunebook.runs.rows import Messages, RenderedRow

ORDER: tuple[Split, ...] = ("dev", "test", "train")
SAMPLE = 20_000  # rows whose tokens are looked at, and whose near-duplicates inside train are
HELD_OUT = 5_000  # rows of dev and test whose tokens are looked at
OF_KINDS = 5_000  # rows that are looked at for their kinds of turn
SEED = 42


@dataclass
class Seen:
    """A rendered row and its place; `prompt` is the row without its system turn and answer, `family` the
    group that it is split and counted with, near-duplicates included."""

    split: str
    place: str
    line: int
    row: RenderedRow
    family: str = ""

    @cached_property
    def prompt(self) -> str:
        return near_duplicates.prompt_text(self.row)

    @cached_property
    def words(self) -> list[str]:
        return words(self.prompt)

    @property
    def answer(self) -> str:
        return self.row["gold"]["answer"]


class Watcher(Protocol):
    """A check that sees every row once, dev and test before train, and then adds its findings."""

    def see(self, seen: Seen) -> None: ...

    def finish(self) -> None: ...


class Sample:
    """Keeps a seeded random sample of train (reservoir sampling, Vitter 1985, algorithm R), in any order; of
    dev and test the rows with the most letters (`held_out`); and a few rows of every kind of turn that there
    is (`of_kinds`), those that are in neither of the two."""

    def __init__(self, found: Findings, size: int = SAMPLE) -> None:
        self.found, self.size, self.random, self.total = found, size, random.Random(SEED), 0
        self.rows: list[Seen] = []
        self.held_out: list[Seen] = []
        self.others = 0  # rows of dev and test
        self.of_kinds: list[Seen] = []
        self.kinds: Counter[Hashable] = Counter()

    def see(self, seen: Seen) -> None:
        kinds = turn_kinds(seen.row)
        if len(self.of_kinds) < OF_KINDS and any(self.kinds[kind] < EACH for kind in kinds):
            self.of_kinds.append(seen)
        self.kinds.update(kinds)
        if seen.split != "train":
            self.others += 1
            self.held_out.append(seen)
            return
        self.total += 1
        if len(self.rows) < self.size:
            self.rows.append(seen)
        elif (place := self.random.randrange(self.total)) < self.size:
            self.rows[place] = seen

    def finish(self) -> None:
        self.found.facts["token sample"] = {"rows": len(self.rows), "of": self.total}
        letters = {id(seen): sum(map(len, texts(seen.row))) for seen in self.held_out}
        self.held_out = sorted(self.held_out, key=lambda seen: -letters[id(seen)])[:HELD_OUT]
        kept = {id(seen) for seen in (*self.rows, *self.held_out)}
        self.of_kinds = [seen for seen in self.of_kinds if id(seen) not in kept]

    @property
    def looked_at(self) -> list[Seen]:
        """All rows that the child looks at; those of `rows` and `held_out` first."""
        return [*self.rows, *self.held_out, *self.of_kinds]


class Counted:
    """Keeps the facts about rows that `tunebook plan` needs (tunebook/data/lengths.py)."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.counting = dataset, Counting()

    def see(self, seen: Seen) -> None:
        self.counting.add(seen.split, seen.row)

    def finish(self) -> None:
        self.counting.write(self.dataset)


def without_boilerplate(dataset: Dataset) -> near_duplicates.Stripper:
    """Return a function that removes the boilerplate of train's prompts, or removes nothing if train cannot
    be read."""
    try:
        rows = (located.value for located in each_row(dataset, "train"))
        return near_duplicates.boilerplate(
            words(near_duplicates.prompt_text(row)) for row in rows if not isinstance(row, Problem)
        )
    except TunebookError:  # `survey` finds the same error and reports it
        return list


def survey(
    dataset: Dataset,
    watchers: list[Watcher],
    found: Findings,
    step: Callable[[], None] | None = None,
    rows: Rows | None = None,
) -> Counter[str]:
    """Show every row of `dataset` to every watcher and return the number of good rows of each split. `step`
    is called for each row; `rows` are those of the dataset, where the caller reads them, too.

    A faulty row is an error finding, or a note if `allow_drop` accepts it. If the Hub cannot be reached, the
    checks that need it are marked as not checked.
    """
    counts: Counter[str] = Counter()
    problems: list[Problem] = []
    if dataset.group:
        watchers = [*watchers, Groups(found)]
    try:
        rows = rows or Rows(dataset)
        for split in ORDER:
            for located in rows.of(split):
                if isinstance(located.value, Problem):
                    problems.append(located.value)
                    continue
                counts[split] += 1
                family = located.family or located.value["group"]
                seen = Seen(split, located.place, located.line, located.value, family)
                for watcher in watchers:
                    watcher.see(seen)
                if step:
                    step()
            if not counts[split]:
                folder = f"datasets/{dataset.name}"
                text = f"{split} has no rows."
                found.add(Finding("error", "rows", text, file=folder, code="rows.empty_split"))
    except InputError as error:
        found.extend([of_problem(problem, "rows") for problem in error.problems])
    except MachineError as error:
        found.skip(ROWS, f"offline: {error}")
        return counts
    _judge(dataset, problems, found)
    for watcher in watchers:
        watcher.finish()
    found.facts["rows"] = dict(counts)
    return counts


class Rows:
    """The rows of a dataset by split: from the cache, where fork or `make data` rendered them, or from the
    files. What is cut off train is read and cut once; it waits in a temporary file."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.shared, self.entry = dataset, split_from_train(dataset), cache.find(dataset)
        self.file: IO[bytes] = tempfile.TemporaryFile()
        self.chosen: dict[Split, dict[str, str]] = {}  # ids of the rows of each split, and their families
        self.starts: list[tuple[str, int]] = []  # the id of a row, and its offset in the file
        self.problems: list[Located] = []
        self.cut_near: NearPairs = []

    def near(self) -> NearPairs | None:
        """Return the near-duplicates among all rows, where an earlier command or the cutting of the splits
        has looked for them. Ask once the first row is there."""
        if self.entry:
            return self.entry.near()
        return self.cut_near if self.chosen and looks_for_near(self.dataset) else None

    def keep_near(self, pairs: NearPairs) -> None:
        """Store the near-duplicates with the rendered rows, for the next check."""
        if self.entry:
            with contextlib.suppress(OSError):  # somebody else's cache, which may be read only
                self.entry.keep_near(pairs)

    def of(self, split: Split) -> Iterator[Located]:
        """Yield the rows of `split`; for train, also a problem for each row that cannot be read."""
        if self.entry:
            yield from self.entry.located(self.dataset, split)
            return
        for located in self._uncached(split):
            if isinstance(located.value, Problem):
                yield located
                continue
            for row in in_training(self.dataset, split, [located.value]):
                yield replace(located, value=row)

    def _uncached(self, split: Split) -> Iterator[Located]:
        if split not in self.shared:
            yield from each_row(self.dataset, split)
        else:
            if not self.chosen:
                self._cut()
            if split == "train":
                yield from self.problems
            for name, start in self.starts:
                if name in self.chosen[split]:
                    self.file.seek(start)
                    located = pickle.load(self.file)
                    family = self.chosen[split][name]
                    yield replace(located, value=of_split(located.value, split), family=family)

    def _cut(self) -> None:
        light: list[RenderedRow] = []
        for located in each_row(self.dataset, "train"):
            if isinstance(located.value, Problem):
                self.problems.append(located)
                continue
            row = located.value
            self.starts.append((row["id"], self.file.tell()))
            pickle.dump(located, self.file, pickle.HIGHEST_PROTOCOL)
            prompt: Messages = [
                {"role": "user", "content": near_duplicates.prompt_text(row)},
                {"role": "assistant", "content": ""},
            ]
            kept: RenderedRow = {
                "id": row["id"],
                "group": row["group"],
                "messages": prompt,
                "gold": {"answer": row["gold"]["answer"]},
            }
            if "time" in row:
                kept["time"] = row["time"]
            light.append(kept)
        found = held_out(self.dataset, light, None, self.cut_near)
        self.chosen = {split: {row["id"]: row["group"] for row in some} for split, some in found.items()}


def _judge(dataset: Dataset, problems: list[Problem], found: Findings) -> None:
    fatal = any(is_fatal(problem) for problem in problems)
    if problems and len(problems) <= dataset.allow_drop and not fatal:
        text = f"{bad_count(len(problems))} dropped, as allow_drop: {dataset.allow_drop} permits."
        file = f"datasets/{dataset.name}/dataset.yaml"
        found.add(Finding("note", "dropped rows", text, file=file, code="rows.left_out"))
        found.extend([of_problem(problem, "dropped rows", "note") for problem in problems])
        return
    for problem in problems:
        found.add(of_problem(problem, "rows"))


class Groups:
    """Finds groups (customers, passages, conversations) with rows in two splits."""

    def __init__(self, found: Findings) -> None:
        self.found = found
        self.first: dict[str, str] = {}
        self.told: set[str] = set()

    def see(self, seen: Seen) -> None:
        group = seen.row["group"]
        other = self.first.setdefault(group, seen.split)
        if other != seen.split and group not in self.told:
            self.told.add(group)
            text = f"group {group!r} has rows in {other} as well as in {seen.split}."
            self.found.add(
                Finding(
                    "warning",
                    "groups in two splits",
                    text,
                    "Keep the whole group in one split.",
                    seen.place,
                    seen.line,
                    code="rows.group_in_two_splits",
                )
            )

    def finish(self) -> None:
        """Add nothing: findings were added row by row."""
