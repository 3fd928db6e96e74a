"""Draw some of a dataset's rows without cutting its groups apart."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

MIN_FOLDS = 30


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
    if stratify and distinct == len(rows):
        kind = StratifiedKFold  # the same without groups, and much faster
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    chosen: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label rarer than the folds is no fault here
        split = list(splitter.split(rows, labels, groups))
    for _, fold in split:
        if chosen and len(chosen) + len(fold) / 2 > count:
            break
        chosen.extend(fold)
    return [rows[index] for index in sorted(chosen)]
