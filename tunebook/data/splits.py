"""Cut dev and test off train without leaks: whole groups, duplicates together, stratified or by time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.data.near_duplicates import asked, together
from tunebook.data.sampling import sample_groups
from tunebook.data.sources import SPLITS, Source, Split

CUT_SEED = 42
Rows = list[dict[str, Any]]


def cut(rows: Rows, source: Source, stratify: bool, place: str) -> dict[Split, Rows]:
    """Return train and what is cut off it, as `source` says; rows that ask the same share a group.

    Args:
        rows: rendered rows; by time, each with its `time`, which is taken out.
        stratify: keep the shares of the labels.
        place: dataset.yaml, for messages.

    Raises:
        InputError: a split would have no rows.
    """
    labels = [row["gold"]["answer"] if stratify else "" for row in rows]
    groups = together([asked(row) for row in rows], [row["group"] for row in rows], labels)
    for row, group in zip(rows, groups, strict=True):
        row["group"] = group
    if source.by_time:
        rows, times = list(rows), [row.pop("time") for row in rows]
        newest: dict[str, float] = {}
        for row, time in zip(rows, times, strict=True):
            newest[row["group"]] = max(time, newest.get(row["group"], time))
        age = sorted(newest, key=lambda group: newest[group])
    shares = {"test": source.test_share, "dev": source.dev_share}
    found: dict[Split, Rows] = {}
    rest, total = rows, len(rows)
    for split in ("test", "dev"):
        if share := shares[split]:
            count = max(1, round(share * total))
            if source.by_time:
                chosen = _newest(rest, age, count)
            else:
                chosen = sample_groups(rest, count, CUT_SEED, stratify)
            taken = {row["group"] for row in chosen}
            found[split] = chosen
            rest = [row for row in rest if row["group"] not in taken]
    found["train"] = rest
    if not all(found.values()):
        names = ", ".join(split for split in SPLITS if split in found)
        text = f"{total} rows in {len(set(groups))} groups cannot be cut into {names}. "
        text += "Groups stay whole: add rows, or name files for the other splits."
        raise InputError(Problem(text, place, key="source", code="split.too_few_groups"))
    return found


def _newest(rows: Rows, age: list[str], count: int) -> Rows:
    """Return the rows of the newest groups, about `count`; `age` is emptied of them."""
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
    """Return the seconds since 1970 that stand in a column: a number, ISO 8601, or a date.

    Raises:
        RowFault: neither of them.
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
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = f"not a time (got {value!r}). Write it as 2026-11-25T14:30:00, or as seconds."
    raise RowFault(column, text, "rows.bad_time")
