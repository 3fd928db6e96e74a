"""Sample rows by whole groups or from every group, or repeat rows until there are enough.

In: rendered rows. Out: a seeded sample of about the given size, or the rows repeated for a number of steps.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from random import Random
from typing import Any

from tunebook.data.tool_calls import texts
from tunebook.runs.rows import RenderedRow

MIN_FOLDS = 30
MANY_GROUPS = 40  # the number of groups that bootstrap intervals need (tunebook/metrics/intervals.py)
NEARLY_ALONE = 0.8  # groups per row
# more than any supported tokenizer produces on English text, so that rows never run out
CHARACTERS_A_TOKEN = 6


def sample_groups(rows: list[RenderedRow], count: int, seed: int, stratify: bool) -> list[RenderedRow]:
    """Return about `count` rows in their original order: whole groups, drawn with a seed.

    Args:
        rows: rendered rows.
        stratify: keep the label proportions of `gold.answer`.
    """
    if count >= len(rows):
        return rows
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    groups = [row["group"] for row in rows]
    labels = [row["gold"]["answer"] if stratify else "" for row in rows]
    distinct = len(set(groups))
    kind = GroupKFold if not stratify else StratifiedGroupKFold
    items = list(range(len(rows)))
    if stratify and distinct > NEARLY_ALONE * len(rows):
        kind = StratifiedKFold  # one row represents its group, which is much faster
        items = sorted({group: index for index, group in reversed(list(enumerate(groups)))}.values())
    folds = max(MIN_FOLDS, math.ceil(len(rows) / count))
    folds = min(folds, distinct, max(Counter(labels[i] for i in items).values()))
    if folds < 2:
        return rows
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    chosen: set[str] = set()
    held = 0
    sizes = Counter(groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than folds is no problem here
        split = list(splitter.split(items, [labels[i] for i in items], [groups[i] for i in items]))
    for _, fold in split:
        names = {groups[items[at]] for at in fold}
        size = sum(sizes[name] for name in names)
        if chosen and held + size / 2 > count:
            break
        chosen |= names
        held += size
    return [row for row in rows if row["group"] in chosen]


def sample_rows(rows: list[RenderedRow], count: int, seed: int, stratify: bool) -> list[RenderedRow]:
    """Return about `count` rows of a split in their original order: whole groups, or some rows of every group
    if only a few groups would be drawn, because differences are tested over groups.

    Args:
        stratify: keep the label proportions of `gold.answer`.
    """
    whole = sample_groups(rows, count, seed, stratify)
    drawn = len({row["group"] for row in whole})
    if drawn >= MANY_GROUPS or drawn == len({row["group"] for row in rows}):
        return whole
    random, turns = Random(seed), Counter[tuple[str, str]]()
    # one row of each group, then a second row, and so on, for each label
    ranked: list[tuple[int, int, int, str]] = []
    labels = Counter(row["gold"]["answer"] if stratify else "" for row in rows)
    for index in random.sample(range(len(rows)), len(rows)):
        label = rows[index]["gold"]["answer"] if stratify else ""
        place = label, rows[index]["group"]
        ranked.append((turns[place], len(ranked), index, label))
        turns[place] += 1
    left = {label: max(1, round(count * size / len(rows))) for label, size in labels.items()}
    chosen = set()
    for _, _, index, label in sorted(ranked):
        if left[label]:
            left[label] -= 1
            chosen.add(index)
    return [row for index, row in enumerate(rows) if index in chosen]


def enough_rows(rows: list[RenderedRow], config: dict[str, Any], steps: int) -> list[RenderedRow]:
    """Return `rows`, repeated until they last for `steps` + 1 steps of one process."""
    batch = config.get("micro_batch_size", 1) * config.get("gradient_accumulation_steps", 1) * (steps + 1)
    have: float = len(rows)
    if config.get("sample_packing"):
        batch *= config.get("sequence_len", 512)
        have = sum(len(text) for row in rows for text in texts(row)) / CHARACTERS_A_TOKEN
    times = max(1, int(-(-batch // max(1, have))))
    return [{**row, "id": f"{row['id']}-{n}"} for n in range(times) for row in rows]
