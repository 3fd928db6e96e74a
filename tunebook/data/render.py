"""Render the rows of a dataset with the templates of its dataset.yaml.

In: raw rows. Out: rendered rows (tunebook/data/dataset.py) by split, or every problem with file, line and
field.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.paths import show
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.formats.bad_rows import bad_count, bad_rows, is_fatal
from tunebook.data.formats.leaves import refuse_ignored
from tunebook.data.formats.place import Spot, fault, id_of
from tunebook.data.near_duplicates import NearPairs
from tunebook.data.renderer import Renderer, split_from_train
from tunebook.data.sources import raw_rows, source_file
from tunebook.data.splits import split_rows, time_of
from tunebook.data.thinking.answers import each_answer
from tunebook.runs.rows import RenderedRow


@dataclass(frozen=True)
class Located:
    """A rendered row or a Problem, and its place in the source. The row's `group` is its original group;
    `family`, if known, is the group by which the row is split and counted."""

    place: str
    line: int
    value: RenderedRow | Problem
    family: str | None = None


def render(dataset: Dataset, split: Split) -> list[RenderedRow]:
    """Read and render every row of `split`.

    Raises:
        InputError: a missing file, or more problems than `allow_drop` permits: the first three of each kind
            (`file:line: field: text`) and their counts.
        MachineError: the rows are on the Hub, which cannot be reached.
    """
    problems: list[Problem] = []
    shared = split in split_from_train(dataset)
    rows = _render(dataset, "train" if shared else split, problems)
    accept(dataset, problems, len(rows))
    return in_training(dataset, split, held_out(dataset, rows)[split] if shared else rows)


@dataclass(frozen=True)
class Rendered:
    """The rows of each split; the line of its source and the group that each row came in, in the same order;
    the rows that `allow_drop` leaves out; and the near-duplicates among all rows, None where nothing was cut
    off train, so that nobody looked for them."""

    rows: dict[Split, list[RenderedRow]]
    came: dict[Split, list[tuple[int, str]]]
    problems: list[Problem]
    near: NearPairs | None = None


def render_all(dataset: Dataset, notes: list[str] | None = None) -> dict[Split, list[RenderedRow]]:
    """Return the rows of `render_whole`."""
    return render_whole(dataset, notes).rows


def render_whole(
    dataset: Dataset,
    notes: list[str] | None = None,
    step: Callable[[], None] | None = None,
    left_out: list[Problem] | None = None,
) -> Rendered:
    """Read and render every split, each source once; raises what `render` raises. `notes` receives messages
    about the split, `left_out` the bad rows that `allow_drop` accepts; `step` is called for each row."""
    problems: list[Problem] = []
    shared = split_from_train(dataset)
    own = [split for split in SPLITS if split == "train" or split not in shared]
    lines: dict[Split, dict[str, tuple[int, str]]] = {split: {} for split in own}
    rows = {split: _render(dataset, split, problems, lines[split], step) for split in own}
    accept(dataset, problems, sum(map(len, rows.values())), left_out)
    near: NearPairs | None = [] if looks_for_near(dataset) else None
    rows |= held_out(dataset, rows["train"], notes, near) if shared else {}
    came: dict[Split, list[tuple[int, str]]] = {}
    for split in SPLITS:
        where = lines["train" if split in shared else split]
        each = [in_training(dataset, split, [row]) for row in rows[split]]
        came[split] = [where[row["id"]] for row, some in zip(rows[split], each, strict=True) for _ in some]
        rows[split] = [one for some in each for one in some]
    return Rendered(rows, came, problems, near)


def in_training(dataset: Dataset, split: Split, rows: list[RenderedRow]) -> list[RenderedRow]:
    """Return the rows of a split as they are trained on: with reasoning, each answer of a conversation is a
    row of train (tunebook/data/thinking/answers.py)."""
    if split != "train" or not dataset.source.reasoning:
        return rows
    return [one for row in rows for one in each_answer(row)]


def looks_for_near(dataset: Dataset) -> bool:
    """Return whether cutting the splits finds the near-duplicates among all rows: all come from train, and
    the prompts that are compared are those that they have in the end (windows differ by split)."""
    source, shared = dataset.source, split_from_train(dataset)
    return len(shared) == len(SPLITS) and source.near != "off" and not source.window


def held_out(
    dataset: Dataset,
    rows: list[RenderedRow],
    notes: list[str] | None = None,
    near: NearPairs | None = None,
) -> dict[Split, list[RenderedRow]]:
    """Split dev and test from the rows of train, as `source` says. Of a row only its id, group, time, gold
    answer and prompt are looked at. `near` takes the near-duplicates among them."""
    place = show(dataset.folder / "dataset.yaml")
    found = split_rows(rows, dataset.source, bool(dataset.labels), place, notes, near)
    return {split: [of_split(row, split) for row in some] for split, some in found.items()}


def of_split(row: RenderedRow, split: Split) -> RenderedRow:
    """Return a row of train's source as a row of the split it was assigned to, with that split's window of
    the passage (tunebook/data/formats/windows.py)."""
    if "held_out" not in row:
        return row
    made = row.copy()
    messages = made.pop("held_out")
    if split != "train":
        made["messages"] = messages
    return made


def each_row(dataset: Dataset, split: Split) -> Iterator[Located]:
    """Yield every row of a split's own source, one at a time, with a problem in place of each bad row."""
    renderer = Renderer(dataset, split)
    place, raw = raw_rows(dataset.source, dataset.folder, split)
    by_time = dataset.source.by_time if split == "train" else None
    seen: dict[str, int] = {}
    for number, value in raw:
        if not isinstance(value, Problem):
            fallback = f"{split}-{int(number)}"
            if fallback in seen:  # several rows of a JSON document may begin on the same line
                fallback += f".{len(seen)}"
            try:
                if dataset.source.reader is None and isinstance(value, dict):
                    read = partial(renderer.row, fallback_id=fallback)
                    refuse_ignored(value, read, top=True, answers=False)
                row = renderer.row(value, fallback)
                if by_time:
                    row["time"] = time_of(value, by_time)
            except RowFault as error:
                value = fault(str(error), place, number, error.field, error.code, id_of(value))
            else:
                value = row
                if row["id"] in seen:
                    text = f"repeats the id of line {seen[row['id']]}."
                    value = fault(text, place, number, "id", "rows.repeated_id", row["id"])
                seen.setdefault(row["id"], int(number))
        own = (
            value["id"] if not isinstance(value, Problem) and not value["id"].startswith(f"{split}-") else ""
        )
        yield Located(getattr(number, "file", "") or place, Spot.of(number, row=own), value)


def _render(
    dataset: Dataset,
    split: Split,
    problems: list[Problem],
    lines: dict[str, tuple[int, str]] | None = None,
    step: Callable[[], None] | None = None,
) -> list[RenderedRow]:
    rows: list[RenderedRow] = []
    for located in each_row(dataset, split):
        if step:
            step()
        if isinstance(located.value, Problem):
            problems.append(located.value)
        else:
            rows.append(located.value)
            if lines is not None:
                lines[located.value["id"]] = located.line, located.value["group"]
    if not rows:
        accept(dataset, problems, 0)
        path = source_file(dataset.source, dataset.folder, split)
        raise InputError(
            Problem("has no rows.", show(path) if path else dataset.source.hub, code="data.no_rows")
        )
    return rows


def accept(
    dataset: Dataset, problems: list[Problem], good: int, left_out: list[Problem] | None = None
) -> None:
    """Drop up to `allow_drop` bad rows: collect them in `left_out` or report them on standard error. Raise
    for more.

    Args:
        good: the number of valid rows.
    """
    count = len(problems)
    if count > dataset.allow_drop or any(is_fatal(problem) for problem in problems):
        raise bad_rows(problems, dataset.name, good, dataset.allow_drop)
    if left_out is not None:
        left_out += problems
    elif problems:
        print(
            f"datasets/{dataset.name}: {bad_count(count)} dropped (allow_drop: {dataset.allow_drop}); the "
            f"first: {problems[0]}",
            file=sys.stderr,
        )
