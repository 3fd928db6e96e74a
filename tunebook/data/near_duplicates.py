"""Duplicate and near-duplicate prompts: one definition for `tunebook fork` and `tunebook check`.

In: the prompts of rows. Out: pairs of near-duplicates. Two prompts are duplicates if they differ only in
case, punctuation, spaces and Unicode form (NFKC). They are near-duplicates if the longer one has eight words
or more, and at most two words, or one in twelve of a longer prompt, are changed, added or removed. In scripts
without spaces, each letter counts as a word. Boilerplate shared by all prompts is ignored, and rows with
different labels are never near-duplicates: two words can change the label ("reset my PIN", "change my
address"). Paraphrases are not detected.

Candidates share a band of MinHash signatures over single words (Broder 1997; datasketch), because two changes
in eight words leave hardly any longer shingle intact; each pair is verified by word Levenshtein distance
(rapidfuzz).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple
from zlib import crc32

from tunebook.core.words import words
from tunebook.runs.rows import RenderedRow

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash

SHORTEST = 8  # words; in a shorter text, two changed words change the meaning
ALLOWED, SHARE = 2, 12  # words that may differ: two, or one in twelve
BANDS, ROWS = 32, 4  # texts that share 6 of 10 words share a band with 99 % probability, 1 of 5 with 5 %
# multipliers that hash a band to one number
MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
CROWD = 50  # a text is compared with at most this many texts of the same band
KEPT = 200_000  # cached signatures, 256 bytes each
BLOCK = 5_000  # texts whose candidates are in memory at once
PAIRS = 50_000  # candidates whose word counts are compared at once
# from LONG words on, a text is counted in WIDE buckets, otherwise in NARROW
LONG, WIDE, NARROW = 200, 1024, 128
FIRST, MANY = 1_000, 20  # texts from which boilerplate is taken, and how many different texts must share it
Stripper = Callable[[list[str]], list[str]]
Near = Literal["bounded", "off", "strict"]
NearPairs = list[tuple[str, str, int]]  # keys of two prompts (`key`), and how many words differ


def normalised(own: list[str], text: str) -> str:
    """Return the normalized form of `text`, equal for duplicates; `own` are its words, or [] if it has
    none."""
    return " ".join(own) or text


def key(own: list[str], text: str) -> str:
    """Return a short name of a prompt, equal for duplicates; `own` are the words of `text`."""
    return blake2b(normalised(own, text).encode(), digest_size=8).hexdigest()


def prompt_text(row: RenderedRow) -> str:
    """Return the prompt of a rendered row: its turns without the system prompt and the last answer."""
    return "\n".join(turn["content"] for turn in row["messages"][:-1] if turn["role"] != "system")


def repeated(rows: list[RenderedRow], others: list[RenderedRow]) -> int:
    """Return how many of `rows` have the same normalized prompt as one of `others`."""
    texts, there = ([prompt_text(row) for row in some] for some in (rows, others))
    known = {normalised(words(text), text) for text in there}
    return sum(normalised(words(text), text) in known for text in texts)


def boilerplate(texts: Iterable[list[str]]) -> Stripper:
    """Return a function that removes boilerplate: the words with which all of the first thousand texts begin
    and end. A text without them is returned unchanged."""
    some = [list(found) for found in {tuple(found) for found in islice(texts, FIRST) if found}]
    if len(some) < MANY:
        return list
    head = os.path.commonprefix(some)
    tail = os.path.commonprefix([found[len(head) :][::-1] for found in some])[::-1]

    def without(found: list[str]) -> list[str]:
        start, end = len(head), len(found) - len(tail)
        framed = start <= end and found[:start] == head and found[end:] == tail
        return found[start:end] if framed else found

    return without


class Prompt(NamedTuple):
    """The prompt of a row: its words without boilerplate, its label ("" without labels), and its group. Rows
    of one group are expected to be similar and are not compared."""

    words: list[str]
    label: str
    group: Hashable


def changes(one: Prompt, other: Prompt) -> int | None:
    """Return the number of words in which two near-duplicates differ, or None for other pairs."""
    from rapidfuzz.distance import Levenshtein

    longest = max(len(one.words), len(other.words))
    labels = {one.label, other.label} - {""}
    if one.group == other.group or len(labels) > 1 or longest < SHORTEST:
        return None
    most = max(ALLOWED, longest // SHARE)
    distance = Levenshtein.distance(one.words, other.words, score_cutoff=most)
    return distance if distance <= most else None


class Index:
    """An index of texts by the bands of their signatures, to find near-duplicates of other texts."""

    def __init__(self, texts: Sequence[Prompt]) -> None:
        self.texts = texts
        self.codes: dict[Hashable, int] = {("", "label"): 0}
        self.width = WIDE if max((len(text.words) for text in texts), default=0) > LONG else NARROW
        self.mine = _Bags(texts, self.codes, self.width)
        self.numbers, self.bands = self.mine.numbers, self.mine.bands
        self.order = self.bands.argsort(axis=1, kind="stable")

    def near(self, texts: Sequence[Prompt] | None = None) -> Iterator[tuple[int, int, int]]:
        """Yield the index of one of `texts`, the index of an indexed near-duplicate, and how many words
        differ.

        Without `texts`, each indexed text is compared with the indexed texts before it.
        """
        bags = self.mine if texts is None else _Bags(texts, self.codes, self.width)
        mine, numbers = self.texts if texts is None else texts, bags.numbers
        for start in range(0, len(numbers), BLOCK):
            pairs = self._meeting(bags.bands[:, start : start + BLOCK])
            for some in range(0, len(pairs), PAIRS):
                ones, others = pairs[some : some + PAIRS].T
                ones = ones + start
                able = bags.may_be_near(ones, self.mine, others)
                if texts is None:
                    able &= others < ones
                for one, other in zip(ones[able].tolist(), others[able].tolist(), strict=True):
                    count = changes(mine[numbers[one]], self.texts[self.numbers[other]])
                    if count is not None:
                        yield numbers[one], self.numbers[other], count

    def _meeting(self, bands: np.ndarray) -> np.ndarray:
        """Return each pair of a column of `bands` and an indexed column with an equal band, without repeats:
        (pairs, 2)."""
        import numpy as np

        found = []
        for mine, there, order in zip(bands, self.bands, self.order, strict=True):
            low, high = (np.searchsorted(there, mine, side, sorter=order) for side in ("left", "right"))
            counts = np.minimum(high - low, CROWD)
            one = np.repeat(np.arange(len(mine)), counts)
            place = np.arange(len(one)) + np.repeat(low - counts.cumsum() + counts, counts)
            found.append(one * len(order) + order[place])
        return np.stack(np.divmod(np.unique(np.concatenate(found)), max(1, len(self.numbers))), axis=1)


class _Bags:
    """Word counts with which many pairs of texts are compared at once, before their words are compared; only
    for texts that are long enough, given by `numbers`; `codes` numbers groups and labels.

    Words are counted by their hash in `width` buckets. If the counts of two texts differ by n in one
    direction, the texts differ by at least n words. So for larger distances than allowed, the exact distance
    need not be computed.
    """

    def __init__(self, texts: Sequence[Prompt], codes: dict[Hashable, int], width: int) -> None:
        import numpy as np

        self.numbers, self.bands = _bands(texts)
        kept = [texts[number] for number in self.numbers]
        self.groups = np.array([codes.setdefault((one.group,), len(codes)) for one in kept], dtype="i8")
        self.labels = np.array(
            [codes.setdefault((one.label, "label"), len(codes)) for one in kept], dtype="i8"
        )
        self.sizes = np.array([len(one.words) for one in kept], dtype="i8")
        self.counts = np.empty((len(kept), width), dtype="u1")
        for start in range(0, len(kept), BLOCK // 10):
            some = kept[start : start + BLOCK // 10]
            hashes = np.fromiter((hash(word) for one in some for word in one.words), dtype="i8")
            place = np.repeat(np.arange(len(some)) * width, self.sizes[start : start + len(some)])
            counts = np.bincount(hashes % width + place, minlength=len(some) * width)
            self.counts[start : start + len(some)] = np.minimum(counts, 255).reshape(-1, width)

    def may_be_near(self, ones: np.ndarray, there: _Bags, others: np.ndarray) -> np.ndarray:
        """Return, for each pair of `ones` here and `others` there, whether `changes` has to check it."""
        import numpy as np

        longest = np.maximum(self.sizes[ones], there.sizes[others])
        label, other = self.labels[ones], there.labels[others]
        able = (self.groups[ones] != there.groups[others]) & (longest >= SHORTEST)
        able &= (label == other) | (label == 0) | (other == 0)
        left = np.flatnonzero(able)
        difference = self.counts[ones[left]].astype("i2") - there.counts[others[left]]
        # Excess of the one text, and excess of the other; a changed word counts in both.
        least = (np.abs(difference).sum(axis=1) + np.abs(difference.sum(axis=1))) // 2
        able[left] = least <= np.maximum(ALLOWED, longest[left] // SHARE)
        return able


_SIGNATURES: dict[int, np.ndarray] = {}  # by the hash of a text's words


@cache
def _no_words() -> MinHash:
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS, hashfunc=crc32)


def _signature(own: frozenset[str]) -> np.ndarray:
    """Return a number for each band of a text (BANDS,), cached because fork compares rows, and then check
    does."""
    import numpy as np

    found = _SIGNATURES.get(hash(own))
    if found is None:
        made = _no_words().copy()
        made.update_batch([word.encode() for word in own])
        found = made.hashvalues.reshape(BANDS, ROWS) @ np.array(MIX, dtype="u8")
        if len(_SIGNATURES) < KEPT:
            _SIGNATURES[hash(own)] = found
    return found


def _bands(texts: Sequence[Prompt]) -> tuple[list[int], np.ndarray]:
    """Return the indices of the texts that are long enough, and a number for each band (BANDS, texts)."""
    import numpy as np

    numbers = [number for number, text in enumerate(texts) if len(text.words) >= SHORTEST - ALLOWED]
    bands = np.empty((BANDS, len(numbers)), dtype="u8")
    for column, number in enumerate(numbers):
        bands[:, column] = _signature(frozenset(texts[number].words))
    return numbers, bands
