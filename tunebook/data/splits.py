"""Split dev and test from train without leaks.

In: rendered rows and the shares in dataset.yaml. Out: rows by split: groups stay whole, duplicates stay in
one split, and the split is stratified by label or follows time.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.words import words
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.near_duplicates import (
    Index,
    Near,
    NearPairs,
    Prompt,
    boilerplate,
    key,
    normalised,
    prompt_text,
)
from tunebook.data.sampling import sample_groups
from tunebook.data.sources import Source
from tunebook.runs.rows import RenderedRow

SPLIT_SEED = 42
ENOUGH, MISS = 100, 0.03  # from this many rows on, a split must be this close to its share
LARGEST, SMALL = 0.02, 20  # a family has at most this share of all rows, or this many rows
Rows = list[RenderedRow]


@dataclass(frozen=True)
class Families:
    """Rows that are split together. `groups` names the group of each row. `families` of near-duplicates
    across the original groups were found, with `rows` rows in total; `apart` near-duplicate pairs stay in
    different groups, because the size of a family is limited."""

    groups: list[str]
    families: int = 0
    rows: int = 0
    apart: int = 0
    largest: int = 0  # rows that a family may have
    pairs: NearPairs | None = None  # all near texts of different groups; None where nobody looked for them


def families(
    texts: Sequence[str], groups: Sequence[str], labels: Sequence[str], near: Near = "bounded"
) -> Families:
    """Return which rows are split together: a group, its duplicates and its near-duplicates.

    A chain of many small changes is not a family: texts join the text that most others are near to, and only
    up to `LARGEST` of all rows; otherwise a set of similar chats would end up in one split. Duplicates join
    first. `strict` joins all near-duplicates, also through chains; `off` joins none.

    Args:
        groups: the original groups of the texts; a family is named after its first group.
        labels: the label of each text, "" if there are no labels.
    """
    if not texts:
        return Families([])
    if near == "off":
        return Families(list(groups))
    split = [[sys.intern(word) for word in words(text)] for text in texts]  # each word is stored once
    first: dict[str, int] = {}  # normalized text -> its first row
    edges: list[tuple[int, str, str]] = []  # number of differing words, and the groups of two rows
    for number, (own, text) in enumerate(zip(split, texts, strict=True)):
        other = first.setdefault(normalised(own, text), number)
        if groups[other] != groups[number]:
            edges.append((0, groups[other], groups[number]))
    distinct, without = list(first.values()), boilerplate(split)
    asks = [Prompt(without(split[number]), labels[number], groups[number]) for number in distinct]
    found = [(distinct[one], distinct[other], count) for one, other, count in Index(asks).near()]
    edges += [(count, groups[one], groups[other]) for one, other, count in found]
    keys = {number: key(split[number], texts[number]) for pair in found for number in pair[:2]}
    sizes = Counter(groups)
    largest = len(texts) if near == "strict" else max(SMALL, int(LARGEST * len(texts)))
    family = _chains(edges) if near == "strict" else _stars(edges, sizes, largest)
    order = {group: place for place, group in reversed(list(enumerate(groups)))}
    named: dict[str, str] = {}
    for group in sorted(sizes, key=order.__getitem__):
        named.setdefault(family.get(group, group), group)
    result = [named[family.get(group, group)] for group in groups]
    joined = {result[order[group]] for group in family if result[order[group]] != group}
    return Families(
        result,
        len(joined),
        sum(group in joined for group in result),
        sum(family.get(one, one) != family.get(other, other) for _, one, other in edges),
        largest,
        [(keys[one], keys[other], count) for one, other, count in found],
    )


def _chains(edges: list[tuple[int, str, str]]) -> dict[str, str]:
    """Return the family of each group in `edges`: all groups connected by edges."""
    family: dict[str, str] = {}

    def root(group: str) -> str:
        while family.setdefault(group, group) != group:
            family[group] = family[family[group]]
            group = family[group]
        return group

    for _, one, other in edges:
        family[root(other)] = root(one)
    return {group: root(group) for group in family}


def _stars(edges: list[tuple[int, str, str]], sizes: Counter[str], largest: int) -> dict[str, str]:
    """Return the family of each group in `edges`: a center and the groups with an edge to it, the nearest
    first, up to `largest` rows (star clustering, Aslam et al. 2004)."""
    distance: dict[str, dict[str, int]] = {}
    for count, one, other in edges:
        for a, b in ((one, other), (other, one)):
            around = distance.setdefault(a, {})
            around[b] = min(count, around.get(b, count))
    family: dict[str, str] = {}
    for center in sorted(distance, key=lambda group: -len(distance[group])):
        if center in family:
            continue
        family[center], held = center, sizes[center]
        for group in sorted(distance[center], key=distance[center].__getitem__):
            if group not in family and held + sizes[group] <= largest:
                family[group] = center
                held += sizes[group]
    return family


def split_rows(
    rows: Rows,
    source: Source,
    stratify: bool,
    place: str,
    notes: list[str] | None = None,
    near: NearPairs | None = None,
) -> dict[Split, Rows]:
    """Return train and the splits made from it, as `source` says; rows with the same prompt share a group.

    If the limit on families leaves two rows with equal prompts in different splits, the row in train (or in
    dev, if the other is in test) is dropped.

    Args:
        rows: rendered rows; with `by_time`, each has a `time`, which is removed.
        stratify: keep the shares of the labels.
        place: dataset.yaml, for messages.
        notes: a list that receives notes for the person who splits.
        near: a list that receives the near-duplicates among `rows`, unless `source.near` is off.

    Raises:
        InputError: a split would be empty, or miss its share by more than 3 percentage points.
    """
    labels = [row["gold"]["answer"] if stratify else "" for row in rows]
    own = [row["group"] for row in rows]
    result = families([prompt_text(row) for row in rows], own, labels, source.near)
    groups = result.groups
    for row, group in zip(rows, groups, strict=True):
        row["group"] = group
    if near is not None and result.pairs:
        near += result.pairs
    say = [] if notes is None else notes
    if result.families:
        say.append(
            f"{result.rows} of {len(rows)} rows share {result.families} families of near-duplicates across "
            "groups; each family stays in one split"
        )
    if result.apart:
        say.append(
            f"{result.apart} near-duplicate pairs stay in different groups, because a family has at most "
            f"{result.largest} rows. --near strict (NEAR=strict) joins all pairs, --near off (NEAR=off) "
            "joins none"
        )
    if source.by_time:
        rows, times = list(rows), [row.pop("time") for row in rows]
        newest: dict[str, float] = {}
        for row, time in zip(rows, times, strict=True):
            newest[row["group"]] = max(time, newest.get(row["group"], time))
        age = sorted(newest, key=lambda group: newest[group])
    shares: dict[Split, float | None] = {"test": source.test_share, "dev": source.dev_share}
    found: dict[Split, Rows] = {}
    rest, total = rows, len(rows)
    for split in shares:
        if share := shares[split]:
            count = max(1, round(share * total))
            if source.by_time:
                chosen = _newest(rest, age, count)
            else:
                chosen = sample_groups(rest, count, SPLIT_SEED, stratify)
            taken = {row["group"] for row in chosen}
            found[split] = chosen
            rest = [row for row in rest if row["group"] not in taken]
    found["train"] = rest
    if not all(found.values()):
        names = ", ".join(split for split in SPLITS if split in found)
        among = len(set(groups))
        text = f"cannot split {total} rows in {among} group{'s' * (among != 1)} into {names} without "
        text += "breaking up a group. Add rows, or provide the splits as files."
        raise InputError(Problem(text, place, key="source", code="split.too_few_groups"))
    if total >= ENOUGH:
        _check_shares(found, shares, total, groups, place)
    if source.near != "off" and (repeats := _without_repeats(found)):
        say.append(
            f"{repeats} rows were dropped from train or dev, because a held-out row has the same prompt "
            "(ignoring case and punctuation)"
        )
    return found


def _check_shares(
    found: dict[Split, Rows], shares: dict[Split, float | None], total: int, groups: list[str], place: str
) -> None:
    """Raise InputError if a split misses its share by more than `MISS`."""
    missed = [
        f"{split} has {len(found[split]) / total:.0%} of the rows instead of {share:.0%}"
        for split, share in shares.items()
        if share and abs(len(found[split]) / total - share) > MISS
    ]
    if missed:
        name, size = Counter(groups).most_common(1)[0]
        text = (
            f"{' and '.join(missed)}. Groups stay whole, and the largest of {len(set(groups))} groups, "
            f"{name!r:.60}, has {size} of {total} rows. Choose another --group (GROUP=column or none), use "
            "--near off (NEAR=off) to let near-duplicates be separated, or provide the splits as files."
        )
        raise InputError(Problem(text, place, key="source", code="split.missed_share"))


def _without_repeats(found: dict[Split, Rows]) -> int:
    """Remove rows from train and dev whose prompt also occurs in a held-out split; return how many."""
    seen: set[str] = set()
    taken = 0
    for split in [split for split in reversed(SPLITS) if split in found]:
        rows = found[split]
        prompts = [normalised(words(text), text) for text in map(prompt_text, rows)]
        found[split] = [row for row, prompt in zip(rows, prompts, strict=True) if prompt not in seen]
        taken += len(rows) - len(found[split])
        seen.update(prompts)
    return taken


def _newest(rows: Rows, age: list[str], count: int) -> Rows:
    """Return about `count` rows of the newest groups, and remove those groups from `age`."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["group"]] = sizes.get(row["group"], 0) + 1
    chosen: set[str] = set()
    held = 0
    while age and (not chosen or held + sizes[age[-1]] / 2 <= count):
        held += sizes[age[-1]]
        chosen.add(age.pop())
    return [row for row in rows if row["group"] in chosen]


def time_of(row: dict[str, Any], column: str) -> float:
    """Return the time in a column as seconds since 1970; the value is a number, ISO 8601 text, or a date.

    Raises:
        RowFault: the value is none of these.
    """
    value = row.get(column)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18:
        return float(value)
    text = f"not a time (got {value!r}). Write it as 2026-11-25T14:30:00, or in seconds since 1970."
    raise RowFault(column, text, "rows.bad_time")
