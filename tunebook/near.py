"""Which rows ask the same: equal but for case and punctuation, or all but the same words.

Candidates come from MinHash signatures over words (Broder 1997; datasketch), and each is verified: two
texts of eight words or more are near-duplicates if at most two words would have to be changed, added or
taken away. What all texts begin and end with, the frame of one prompt, does not count. Free paraphrases
are not found.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

SHORTEST = 8  # words; below, two changed words make another text
ALLOWED = 2
HASHES, ROWS = 128, 4  # 32 bands of 4: texts that share 6 of 10 words meet in one with 99 %
MANY = 20  # texts, from which on a frame that all of them share can be told
CROWD = 50  # texts in one bucket, beyond which each is compared with its neighbours only


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def asked(row: dict[str, Any]) -> str:
    """Return what a rendered row asks: its turns without the system's and the last answer."""
    return "\n".join(turn["content"] for turn in row["messages"][:-1] if turn["role"] != "system")


def together(texts: Sequence[str], groups: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return for each text a group that all its duplicates and near-duplicates share.

    Args:
        groups: the groups that the texts are in already; a merged group is called like its first.
        labels: the label of each text, "" where there are none. Two words can make another label of a
            text ("reset my PIN", "change my address"); then it is no near-duplicate.
    """
    first = {group: index for index, group in reversed(list(enumerate(groups)))}
    parent = [first[group] for group in groups]

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(one: int, other: int) -> None:
        low, high = sorted((root(one), root(other)))
        parent[high] = low

    seen: dict[tuple[str, ...] | str, int] = {}
    split = [[sys.intern(word) for word in words(text)] for text in texts]  # a word is kept once
    for index, found in enumerate(split):
        key = tuple(found) or texts[index]
        if key in seen:
            join(seen[key], index)
        else:
            seen[key] = index
    split = _without_frame(split) if len(seen) >= MANY else split
    distinct = [index for index in seen.values() if len(split[index]) >= SHORTEST - ALLOWED]
    for one, other in _pairs([split[index] for index in distinct]):
        one, other = distinct[one], distinct[other]
        if labels[one] == labels[other] and root(one) != root(other) and near(split[one], split[other]):
            join(one, other)
    return [groups[root(index)] for index in range(len(groups))]


def repeated(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> int:
    """Return how many of `rows` ask what one of `others` asks, but for case and punctuation."""
    asked_there = {tuple(words(asked(row))) for row in others}
    return sum(tuple(words(asked(row))) in asked_there for row in rows)


def near(one: list[str], other: list[str]) -> bool:
    """Return whether two texts, as words, are near-duplicates."""
    from rapidfuzz.distance import Levenshtein

    if max(len(one), len(other)) < SHORTEST:
        return one == other
    return Levenshtein.distance(one, other, score_cutoff=ALLOWED) <= ALLOWED


def _without_frame(texts: list[list[str]]) -> list[list[str]]:
    """Return the texts without the words that all of them begin and end with."""
    first = len(os.path.commonprefix(texts))
    last = len(os.path.commonprefix([text[first:][::-1] for text in texts]))
    return [text[first : len(text) - last] for text in texts]


def _pairs(texts: list[list[str]]) -> Iterator[tuple[int, int]]:
    """Yield candidates: the indexes of texts whose signatures are equal in a band."""
    if len(texts) < 2:
        return
    import numpy
    from datasketch import MinHash

    tokens = ([word.encode() for word in set(text)] for text in texts)
    signatures = numpy.stack(
        [
            found.hashvalues.astype("u4")
            for found in MinHash.generator(tokens, num_perm=HASHES, hashfunc=crc32)
        ]
    )
    for start in range(0, HASHES, ROWS):
        band = numpy.ascontiguousarray(signatures[:, start : start + ROWS]).view(f"V{4 * ROWS}").ravel()
        _, bucket, sizes = numpy.unique(band, return_inverse=True, return_counts=True)
        shared = numpy.flatnonzero(sizes[bucket] > 1)
        order = shared[numpy.argsort(bucket[shared], kind="stable")]
        edges = numpy.flatnonzero(numpy.diff(bucket[order])) + 1
        for members in numpy.split(order, edges):
            for at, one in enumerate(members[:-1]):
                far = len(members) if len(members) <= CROWD else at + 2
                for other in members[at + 1 : far]:
                    yield int(one), int(other)
