"""Words in scripts with and without blanks, for everything that counts words."""

from __future__ import annotations

import unicodedata

import pytest

from tunebook.core.words import LONG, WORD, count, pieces, words

UNSPACED_TEXTS = {
    "Chinese": "\u6211\u60f3\u53d6\u6d88\u6211\u7684\u8ba2\u5355\u3002",
    "Japanese": "\u300c\u6ce8\u6587\u300d\u3092\u30ad\u30e3\u30f3\u30bb\u30eb\u3057\u305f\u3044\u3002",
    "Thai": "\u0e09\u0e31\u0e19\u0e15\u0e49\u0e2d\u0e07\u0e01\u0e32\u0e23\u0e22\u0e01",
    "Khmer": "\u1781\u17d2\u1789\u17bb\u17c6\u1785\u1784\u17cb\u1794\u17b6\u1793",
    "Lao": "\u0e82\u0ec9\u0ead\u0e8d\u0e95\u0ec9\u0ead\u0e87\u0e81\u0eb2\u0e99",
    "Burmese": "\u1000\u103b\u103d\u1014\u103a\u1010\u1031\u102c\u103a",
}


@pytest.mark.parametrize("text", UNSPACED_TEXTS.values(), ids=UNSPACED_TEXTS)
def test_letters_of_scripts_without_blanks_are_words(text: str) -> None:
    assert len(words(text)) == len(pieces(text)) > 2
    assert "".join(pieces(text)) == text
    assert count(text) == len(words(text)) / 2


@pytest.mark.parametrize(
    "text", ["Don't stop, it's \u2014 me.\n x", "d\u00e9j\u00e0 vu", "", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5"]
)
def test_pieces_are_what_blanks_separate_elsewhere(text: str) -> None:
    assert pieces(text) == text.split()
    assert count(text) == len(text.split())


def test_words_are_without_case_punctuation_and_unicode_form() -> None:
    assert (
        words("Caf\u00c9, it's 15") == words("cafe\u0301 \uff29\uff34 S 15") == ["caf\u00e9", "it", "s", "15"]
    )
    assert words("iPhone15\u3092\u8cb7\u3046") == ["iphone15", "\u3092", "\u8cb7", "\u3046"]


def test_vowel_signs_belong_to_their_letter() -> None:
    """Hindi `ki` and `ka` differ in a sign only: without it they would count as duplicates."""
    assert words("\u0915\u0940") != words("\u0915\u093e")
    assert words("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u092e\u0947\u0902",
    ]


def test_long_lines_have_the_words_that_their_text_has() -> None:
    text = "\u0301Stra\u00dfe in CAF\u00c9\n\u0301 \ufb01nish \u6211\u60f3, the Mill's end;" * 40
    whole = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    assert words(text) == whole and max(map(len, text.split("\n"))) < LONG < len(text)
    line = text.replace("\n", " ")
    assert words(f"{line}\n{line}\nOne more") == [*words(line), *words(line), "one", "more"]
    assert words(line) == WORD.findall(unicodedata.normalize("NFKC", line).casefold())
