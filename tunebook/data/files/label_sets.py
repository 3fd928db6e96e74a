"""Peculiarities of label sets: several spellings of a label, several labels in one, ordered numbers.

In: the labels of a classification dataset and the number of rows of each. Out: what is unusual about them,
for `tunebook fork`, which asks or offers an option, and for `tunebook check`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# Separators between labels joined into one, the most reliable first.
SEPARATORS = ("><", "\n", "\t", "|", ";", "\uff1b", ",", "\uff0c", "\u3001", "/", "+", "&", "#", " and ", " ")
BITS = re.compile(r"[01]{3,}")
MISSING = frozenset(r"nan none null n/a na #n/a - ? nil undefined unknown missing \n".split())
NO_LABEL = ("-1", "-100")  # in place of the number of a label
WHOLE = re.compile(r"([-+]?\d+)\.0+")
Counts = Mapping[str, int]


def folded(label: str) -> str:
    """Return a label without differences of spelling: case, spaces, full-width forms, composed or decomposed
    letters, `.0` after a whole number, letters without width."""
    visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
    plain = " ".join(unicodedata.normalize("NFKC", visible).casefold().split())
    return WHOLE.sub(r"\1", plain) if WHOLE.fullmatch(plain) else plain


def spellings(counts: Counts) -> list[list[str]]:
    """Return groups of labels that differ only in spelling, the most frequent of each group first."""
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(folded(label), []).append(label)
    return [sorted(group, key=lambda one: -counts[one]) for group in groups.values() if len(group) > 1]


def several_in_one(counts: Counts) -> tuple[str, list[str]] | None:
    """Return the separator and the single labels if labels are several labels joined into one (`a|b`),
    otherwise None.

    That is the case if parts occur alone or in several positions; in "billing/refund", each part has a fixed
    position.
    """
    for separator in SEPARATORS:
        joined = [label for label in counts if len(parts_of(label, separator)) > 1]
        if len(joined) == 1 and {*parts_of(joined[0], separator)} <= {
            part for label in counts if label != joined[0] for part in parts_of(label, separator)
        }:
            return separator, sorted(parts_of(joined[0], separator))
        if len(joined) < 2:
            continue
        places: dict[str, set[int]] = {}
        for label in counts:
            parts = parts_of(label, separator)
            for at, part in enumerate(parts):
                places.setdefault(part, set()).add(-1 if len(parts) == 1 else at)
        if "" in places:
            continue
        within = {part for label in joined for part in parts_of(label, separator)}
        free = [part for part in within if len(places[part]) > 1]
        if separator == " " and len(free) < len(within):
            continue  # words of one label: "very negative"
        if 2 * len(free) >= len(within) and len(within) < 2 * len(joined):
            return separator, sorted(within)
    return None


def parts_of(label: str, separator: str) -> list[str]:
    """Return the parts of `label`. A doubled separator (`a||b`) counts as one, and one at either end (`a;b;`,
    `|a|b|`) does not count; tags are separated by `><` (`<a><b>`)."""
    doubled = separator * 2
    if separator == "><":
        label = label.removeprefix("<").removesuffix(">") if label[:1] + label[-1:] == "<>" else label
    else:
        label = label.strip().removeprefix(separator).removesuffix(separator)
    return [part.strip() for part in label.replace(doubled, separator).split(separator)]


def as_bits(counts: Counts) -> bool:
    """Return whether labels consist of a 0 or 1 for each of several labels: `010`, `110`."""
    whole = [BITS.fullmatch(label) for label in counts]
    return (
        all(whole)
        and len({len(label) for label in counts}) == 1
        and any(label.count("1") > 1 for label in counts)
    )


def ordered(counts: Counts) -> list[int] | None:
    """Return the numbers if labels are steps of a scale, such as 1 to 5 stars; None for other labels."""
    numbers = [int(folded(label)) for label in counts if re.fullmatch(r"[-+]?\d{1,18}", folded(label))]
    steps = sorted(set(numbers))
    if len(numbers) < len(counts) or not 3 <= len(steps) <= 11 or steps[-1] - steps[0] != len(steps) - 1:
        return None
    return steps if steps[0] in (0, 1) or steps[0] == -steps[-1] else None


def missing(counts: Counts) -> list[str]:
    """Return the labels that may mean "no label", such as `nan`."""
    numbers = [int(label) for label in counts if re.fullmatch(r"-?\d{1,9}", label)]
    numbered = len(numbers) == len(counts) and sum(number >= 0 for number in numbers) > 2
    codes = [one for one in NO_LABEL if one in counts and numbered and sum(n < 0 for n in numbers) == 1]
    return [label for label in counts if folded(label) in MISSING or label in codes]
