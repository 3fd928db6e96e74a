"""Count the tokens of many texts, and of texts that begin alike their common start only once.

In: a tokenizer of the `tokenizers` library and texts. Out: the number of tokens of each text. A thousand
questions on a hundred passages cost a hundred passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHARED = 2000  # letters at the start that two texts have in common at least
MARGIN = 300  # letters before the end of what they share, where tokens may depend on what follows
BATCH = 1000  # texts at a time


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Return the tokens of each text, without those that the tokenizer adds.

    Of two texts with a long common start, the second is cut at a blank inside it and only its end is
    encoded. That is the same if the first text, cut there, has the same tokens; where it has not, the second
    is encoded whole.
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
    """A text that was encoded whole, and what that says of texts that begin like it."""

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self.tokenizer, self.text = tokenizer, text
        self.ids = self._encode(text)
        self.before: dict[int, int | None] = {}

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids

    def size_of(self, text: str) -> int | None:
        """Return the tokens of `text`, None where this text does not help."""
        place = self._cut(_shared(self.text, text) - MARGIN)
        if place < max(SHARED - MARGIN, len(text) // 2):
            return None
        before = self._tokens_before(place)
        return None if before is None else before + len(self._encode(text[place:]))

    def _cut(self, end: int) -> int:
        """Return the place of the last blank between two letters before `end`, -1 if there is none near."""
        for place in range(end, max(1, end - MARGIN), -1):
            if self.text[place] == " " and self.text[place - 1].isalpha() and self.text[place + 1].isalpha():
                return place
        return -1

    def _tokens_before(self, place: int) -> int | None:
        """Return the tokens before `place`, None where the text is not the same in two parts."""
        if place not in self.before:
            rest = self._encode(self.text[place:])
            same = self.ids[len(self.ids) - len(rest) :] == rest
            self.before[place] = len(self.ids) - len(rest) if same else None
        return self.before[place]


def _shared(one: str, other: str) -> int:
    """Return how many letters two texts have in common at the start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
