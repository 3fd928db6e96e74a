"""Sets of labels: spellings of one label, several labels in one, numbers in an order.

In: the labels of a classification set and how many rows each has. Out: what is odd about them, for `tunebook
fork`, which asks or offers an option, and for `tunebook check`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# Between labels that are joined into one, the surest first.
SEPARATORS = ("\n", "\t", "|", ";", "\uff1b", ",", "\uff0c", "\u3001", "/", "+", "&", "#", " and ", " ")
BITS = re.compile(r"[01]{3,}")
MISSING = frozenset("nan none null n/a na #n/a - ? nil undefined unknown missing".split())
WHOLE = re.compile(r"([-+]?\d+)\.0+")
Counts = Mapping[str, int]


def folded(label: str) -> str:
    """Return a label without what only its spelling has: case, blanks, full-width forms, composed or
    decomposed letters, `.0` behind a whole number."""
    plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    return WHOLE.sub(r"\1", plain) if WHOLE.fullmatch(plain) else plain


def spellings(counts: Counts) -> list[list[str]]:
    """Return the groups of labels that differ only in their spelling, the most frequent of each first."""
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(folded(label), []).append(label)
    return [sorted(group, key=lambda one: -counts[one]) for group in groups.values() if len(group) > 1]


def several_in_one(counts: Counts) -> tuple[str, list[str]] | None:
    """Return the separator and the single labels where labels are several joined into one (`a|b`), else None.

    They are where parts come alone or at several places; in "billing/refund" each part has one place.
    """
    for separator in SEPARATORS:
        joined = [label for label in counts if separator in label]
        if len(joined) == 1 and all(part in counts for part in _parts(joined[0], separator)):
            return separator, sorted(_parts(joined[0], separator))
        if len(joined) < 2:
            continue
        places: dict[str, set[int]] = {}
        for label in counts:
            parts = _parts(label, separator)
            for at, part in enumerate(parts):
                places.setdefault(part, set()).add(-1 if len(parts) == 1 else at)
        if "" in places:
            continue
        within = {part for label in joined for part in _parts(label, separator)}
        free = [part for part in within if len(places[part]) > 1]
        if 2 * len(free) >= len(within) and len(within) < 2 * len(joined):
            return separator, sorted(within)
    return None


def _parts(label: str, separator: str) -> list[str]:
    """Return the labels in `label`; a separator that is doubled (`a||b`) is one."""
    doubled = separator * 2
    return [part.strip() for part in label.replace(doubled, separator).split(separator)]


def as_bits(counts: Counts) -> bool:
    """Return whether labels are a 0 or 1 for each of several labels: `010`, `110`."""
    whole = [BITS.fullmatch(label) for label in counts]
    return (
        all(whole)
        and len({len(label) for label in counts}) == 1
        and any(label.count("1") > 1 for label in counts)
    )


def ordered(counts: Counts) -> list[int] | None:
    """Return the numbers of labels that are steps of a scale, such as 1 to 5 stars; None for other labels."""
    numbers = [int(folded(label)) for label in counts if re.fullmatch(r"[-+]?\d+", folded(label))]
    steps = sorted(set(numbers))
    if len(numbers) < len(counts) or not 3 <= len(steps) <= 11 or steps[-1] - steps[0] != len(steps) - 1:
        return None
    return steps if steps[0] in (0, 1) or steps[0] == -steps[-1] else None


def missing(counts: Counts) -> list[str]:
    """Return the labels that may stand for no label, such as `nan`."""
    return [label for label in counts if folded(label) in MISSING]
