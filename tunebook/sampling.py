"""Draw some of a dataset's rows without cutting its groups apart."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

MIN_FOLDS = 30
NEARLY_ALONE = 0.8  # groups a row


def sample_groups(rows: list[dict[str, Any]], count: int, seed: int, stratify: bool) -> list[dict[str, Any]]:
    """Return about `count` rows in their order: whole groups, seeded.

    Args:
        rows: rendered rows; with `stratify`, `gold.answer` is a label whose shares are kept.
    """
    if count >= len(rows):
        return rows
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    groups = [row["group"] for row in rows]
    labels = [row["gold"]["answer"] if stratify else "" for row in rows]
    distinct = len(set(groups))
    folds = max(MIN_FOLDS, math.ceil(len(rows) / count))
    folds = min(folds, distinct, max(Counter(labels).values()))
    if folds < 2:
        return rows
    kind = GroupKFold if not stratify else StratifiedGroupKFold
    items = list(range(len(rows)))
    if stratify and distinct > NEARLY_ALONE * len(rows):
        kind = StratifiedKFold  # much faster; one row stands for each group, which seldom has two
        items = sorted({group: index for index, group in reversed(list(enumerate(groups)))}.values())
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    chosen: set[str] = set()
    held = 0
    sizes = Counter(groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label rarer than the folds is no fault here
        split = list(splitter.split(items, [labels[i] for i in items], [groups[i] for i in items]))
    for _, fold in split:
        names = {groups[items[at]] for at in fold}
        size = sum(sizes[name] for name in names)
        if chosen and held + size / 2 > count:
            break
        chosen |= names
        held += size
    return [row for row in rows if row["group"] in chosen]
