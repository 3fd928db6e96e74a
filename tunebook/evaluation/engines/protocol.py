"""What every engine gives and takes. Needs no torch, so that the parent process may import it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Ids = list[int]


@dataclass(frozen=True)
class Generation:
    """A greedy answer: `ids` without the turn end; `stopped` is False when the cap cut it."""

    ids: Ids
    stopped: bool


def common_prefix(sequences: Sequence[Ids]) -> Ids:
    """Return the longest prefix that all sequences share, leaving each at least one token."""
    first, last = min(sequences), max(sequences)
    length = min(len(sequence) for sequence in sequences) - 1
    shared = 0
    while shared < length and first[shared] == last[shared]:
        shared += 1
    return first[:shared]
