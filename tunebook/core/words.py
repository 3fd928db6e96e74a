"""Split text in any script into words.

In: text. Out: its words. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan are written without spaces
between words: there, each letter counts as a word, as in word processors. Combining marks (vowel signs of
Hindi or Thai, accents) belong to the letter before them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Letters of scripts without spaces, as the inside of a character class.
UNSPACED_RANGES = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007"
    "\u3040-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
UNSPACED = f"[{UNSPACED_RANGES}]"
LONG = 400  # letters; a line at least this long is cached as a whole
# letters per word in these scripts, for comparison with other languages; Chinese has 1.5, Thai 4
LETTERS_A_WORD = 2
DECIDED = frozenset("yes no maybe true false".split())  # answers that occur in passages by chance


def _marks() -> str:
    """Return all combining marks of the basic plane as ranges of a character class."""
    codes = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"]
    starts = [code for code, before in zip(codes, [0, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], 0], strict=True) if after != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


MARKS = _marks()
WORD = re.compile(
    rf"(?={UNSPACED})\w[{MARKS}]*"
    rf"|[^\W{UNSPACED_RANGES}]+(?:[{MARKS}]+[^\W{UNSPACED_RANGES}]*)*"
)
ASCII_WORD = re.compile(r"\w+")
PIECE = re.compile(
    rf"[^\w\s{MARKS}]*(?={UNSPACED})\w[{MARKS}]*[^\w\s{MARKS}]*|(?:(?!{UNSPACED})\S|(?={UNSPACED})\W)+"
)


def words(text: str) -> list[str]:
    """Return the words of `text` in lower case and one Unicode form (NFKC), without punctuation.

    A word never spans two lines. Long lines are cached, because many questions share a passage.
    """
    if len(text) < LONG:
        return _words(text)
    lines = text.split("\n")
    return [word for line in lines for word in (_words(line) if len(line) < LONG else _words_of_long(line))]


@lru_cache(maxsize=512)
def _words_of_long(line: str) -> tuple[str, ...]:
    return tuple(map(sys.intern, _words(line)))


def phrase(found: Iterable[str]) -> str:
    """Return words as one text with a space on each side: it contains the phrase of any of its parts."""
    return f" {' '.join(found)} "


def _words(text: str) -> list[str]:
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def pieces(text: str) -> list[str]:
    """Return the parts of `text` between spaces, as `str.split` does, but split scripts without spaces into
    letters."""
    return text.split() if text.isascii() or not re.search(UNSPACED, text) else PIECE.findall(text)


def count(text: str) -> float:
    """Return an estimate of the number of words in `text`, counting several letters as one word in scripts
    without spaces."""
    letters = 0 if text.isascii() else len(re.findall(rf"(?={UNSPACED})\w", text))
    return len(pieces(text)) - letters + letters / LETTERS_A_WORD
