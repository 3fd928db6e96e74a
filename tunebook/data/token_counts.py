"""Count the tokens of many texts, tokenizing a common beginning only once.

In: a tokenizer of the `tokenizers` library and texts. Out: the number of tokens of each text. A thousand
questions about a hundred passages cost as much as a hundred passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHARED = 2000  # minimum length of a common start, in letters
MARGIN = 300  # letters before the end of the common start whose tokens may depend on what follows
BATCH = 1000  # texts per batch


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Return the token count of each text, without tokens added by the tokenizer.

    If two texts share a long start, the second is cut at a space inside it and only the remainder is encoded.
    That is exact if the first text, cut at the same place, has the same tokens; otherwise the second is
    encoded whole.
    """
    sizes: dict[str, int] = {}
    short = [text for text in dict.fromkeys(texts) if len(text) < SHARED]
    for start in range(0, len(short), BATCH):
        some = short[start : start + BATCH]
        encoded = tokenizer.encode_batch_fast(some, add_special_tokens=False)
        sizes |= zip(some, map(len, encoded), strict=True)
    first = _Whole(tokenizer, "")
    for text in sorted({text for text in texts if len(text) >= SHARED}):
        size = first.size_of(text)
        if size is None:
            first = _Whole(tokenizer, text)
            size = len(first.ids)
        sizes[text] = size
    return [sizes[text] for text in texts]


class _Whole:
    """A text that was encoded as a whole, with the offsets that help to count texts with the same start."""

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self.tokenizer, self.text = tokenizer, text
        self.ids = self._encode(text)
        self.before: dict[int, int | None] = {}

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids

    def size_of(self, text: str) -> int | None:
        """Return the token count of `text`, or None if this text does not help."""
        place = self._cut(_shared(self.text, text) - MARGIN)
        if place < max(SHARED - MARGIN, len(text) // 2):
            return None
        before = self._tokens_before(place)
        return None if before is None else before + len(self._encode(text[place:]))

    def _cut(self, end: int) -> int:
        """Return the position of the last space between two letters before `end`, or -1 if none is near."""
        for place in range(end, max(1, end - MARGIN), -1):
            if self.text[place] == " " and self.text[place - 1].isalpha() and self.text[place + 1].isalpha():
                return place
        return -1

    def _tokens_before(self, place: int) -> int | None:
        """Return the number of tokens before `place`, or None if encoding the two parts separately gives
        other tokens."""
        if place not in self.before:
            rest = self._encode(self.text[place:])
            same = self.ids[len(self.ids) - len(rest) :] == rest
            self.before[place] = len(self.ids) - len(rest) if same else None
        return self.before[place]


def _shared(one: str, other: str) -> int:
    """Return the length of the common start of two texts, in letters."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
