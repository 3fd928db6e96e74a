"""Rows as prepared for training, and a key of the supervised text of each.

In: token ids and labels, in chunks of many rows. Out: keys that are equal where the supervised text is.
Stretches that occur again, such as labels, are decoded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np

from tunebook.data.mask.bounds import BEHIND, Bound, Bounds
from tunebook.data.stretches import IGNORED, plain_text, special_ids

REPEATED = 64  # tokens of the longest stretch that is kept to be recognised
SIZE = 16  # bytes of the digest of a text
OPEN_END = b"~"  # one more byte, in the key of a row whose last stretch has no end-of-turn token


class Chunk(NamedTuple):
    """Token ids and labels of several rows, one row after the other, and the length of each row."""

    ids: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray


class Prepared(Protocol):
    """The rows that are trained on."""

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows in their order."""
        ...

    def row(self, number: int) -> tuple[list[int], list[int]]:
        """Return the token ids and labels of one row."""
        ...


def is_open(key: bytes) -> bool:
    """Return whether a key ends with OPEN_END."""
    return len(key) % SIZE > 0


class Texts:
    """Decodes tokens, and makes keys of texts. Special tokens at the end of a text are no part of its key:
    they are those of the template, or a row's own text has them and they cannot be told apart."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        special = [plain_text(tokenizer.decode([id])) for id in special_ids(tokenizer)]
        self.special = tuple(text for text in special if text)
        self.last = {text[-1] for text in self.special}

    def decoded(self, runs: list[list[int]]) -> list[str]:
        """Return the text of each list of ids, with special tokens and as it is."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return [self.tokenizer.decode(run, clean_up_tokenization_spaces=False) for run in runs]
        texts: list[str] = backend.decode_batch(runs, skip_special_tokens=False)
        return texts

    def key(self, texts: list[str]) -> bytes:
        """Return the key of a row with these supervised texts, complete and in their order."""
        return b"".join(map(self.digest, texts))

    def digest(self, text: str) -> bytes:
        text = plain_text(text)
        while text[-1:] in self.last and text.endswith(self.special):
            text = text.removesuffix(next(one for one in self.special if text.endswith(one)))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


def stretches(chunk: Chunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start, the end and the row of each stretch of supervised tokens in a chunk."""
    learned = chunk.labels != IGNORED
    ends = np.cumsum(chunk.lengths)
    changes = np.flatnonzero(learned[1:] != learned[:-1]) + 1
    cuts = np.unique(np.concatenate(([0], changes, ends))) if len(learned) else np.zeros(1, dtype=np.int64)
    starts, stops = cuts[:-1], cuts[1:]
    kept = learned[starts]
    starts, stops = starts[kept], stops[kept]
    return starts, stops, np.searchsorted(ends, starts, side="right")


Mark = tuple[bytes, int, int]  # a stretch with its surroundings, and how many tokens of it those are


class Keys:
    """Makes keys of prepared rows.

    Args:
        every_end: the end-of-turn token of every supervised turn is learned, not only that of the last one.
    """

    def __init__(self, texts: Texts, bounds: Bounds, every_end: bool = True) -> None:
        self.texts, self.bounds, self.every_end = texts, bounds, every_end
        self.known: dict[Mark, tuple[bytes, Bound]] = {}

    def of(self, chunk: Chunk) -> list[bytes | None]:
        """Return the key of each row: None if it certainly has a fault, at the ends of its stretches or
        because its labels are other tokens than its own."""
        starts, stops, rows = stretches(chunk)
        ends = np.cumsum(chunk.lengths)
        low = np.maximum(starts - self.bounds.width, (ends - chunk.lengths)[rows])
        high = np.minimum(stops + BEHIND, ends[rows])
        ids = np.ascontiguousarray(chunk.ids, dtype=np.int32)
        spans = zip(low.tolist(), starts.tolist(), stops.tolist(), high.tolist(), strict=True)
        marks = [(ids[a:d].tobytes(), b - a, d - c) for a, b, c, d in spans]
        found = self._look(marks)
        parts: list[list[tuple[bytes, Bound]]] = [[] for _ in chunk.lengths]
        for row, mark in zip(rows.tolist(), marks, strict=True):
            parts[row].append(found[mark])
        keys = [self._key(some) for some in parts]
        other = np.flatnonzero((chunk.labels != IGNORED) & (chunk.labels != chunk.ids))
        for row in np.unique(np.searchsorted(ends, other, side="right")).tolist():
            keys[row] = None
        return keys

    def _look(self, marks: list[Mark]) -> dict[Mark, tuple[bytes, Bound]]:
        """Return the digest of each stretch's text, and what is found at its ends."""
        found = {mark: self.known[mark] for mark in marks if mark in self.known}
        new = [mark for mark in dict.fromkeys(marks) if mark not in found]
        bodies, bounds = [], []
        for around, before, after in new:
            ids = np.frombuffer(around, dtype=np.int32).tolist()
            run = ids[before : len(ids) - after]
            size, bound = self.bounds.look(ids[:before], run, ids[len(ids) - after :])
            bodies.append(run[:size])
            bounds.append(bound)
        texts = self.texts.decoded(bodies)
        for mark, run, text, bound in zip(new, bodies, texts, bounds, strict=True):
            found[mark] = self.texts.digest(text), bound
            if len(run) <= REPEATED:
                self.known[mark] = found[mark]
        return found

    def _key(self, parts: list[tuple[bytes, Bound]]) -> bytes | None:
        for place, (_, bound) in enumerate(parts, 1):
            if bound in (Bound.EARLY, Bound.LATE):
                return None
            if bound is Bound.UNLEARNED and (self.every_end or place == len(parts)):
                return None
        open_end = OPEN_END if parts and parts[-1][1] is Bound.OPEN else b""
        return b"".join(digest for digest, _ in parts) + open_end
