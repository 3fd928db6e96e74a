"""Which label an answer names. docs/metrics.md has the rule, tests/metrics/test_read_label.py its cases."""

from __future__ import annotations

import re
import unicodedata

from tunebook.core.words import UNSPACED

QUOTES = "\"'`\u00ab\u00bb\u300c\u300d\u300e\u300f"
ENDS = ".,:;!?\u3002\u3001\u0964\u061f\u060c"
AROUND = QUOTES + ENDS + "*_#()[]{}<>"
MARKER = re.compile(r"^(?:[-*\u2022#>]+|\d+[.)])\s+")  # of a list, a heading or a quotation
# Typographic variants that NFKC leaves apart, and what is not seen: soft hyphen, zero width, emoji style.
SAME = str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212", "''\"\"------")
UNSEEN = re.compile("[\u00ad\u200b\u2060\ufe0e\ufe0f\ufeff]")
HANGUL = "[\uac00-\ud7a3]"  # its particles stand at the end of a word
QUOTED = f"[{re.escape(QUOTES)}*]*"
# "not a X", "isn't X", "non-X", and the like in German, French, Portuguese, Chinese; Japanese and Korean deny
# after the word.
NEGATED = re.compile(
    r"(?:(?:\b(?:not|no|never|nor|neither|without|cannot be|nicht|keine?|pas|n\u00e3o|non)|n't)[\s-]+"
    r"(?:(?:an?|the|about|really|of|in|ein|eine|de|un|une|uma?)\s+){0,2}"
    rf"|(?:\u4e0d\u662f|\u5e76\u975e|\u4e26\u975e|\u4e0d\u5c5e\u4e8e|\u975e)){QUOTED}$"
)
NEGATED_AFTER = re.compile(
    rf"^{QUOTED}(?:\u3067\u306f\u306a\u3044|\u3067\u306f\u3042\u308a\u307e\u305b\u3093|\u3058\u3083\u306a\u3044"
    r"|[\uc774\uac00]? ?\uc544[\ub2c8\ub2d9\ub2cc])"
)


def read_label(text: str, labels: list[str]) -> str | None:
    """Return the label that `text` names: it is all of it, or all of one line, or the only one mentioned;
    else None.

    The same rule holds for every contender: a base that chats around its label still gets its point. What is
    written exactly comes first, so that labels which differ only in case or punctuation (US and us, B and B*)
    can each be right. An answer that names two labels is no answer, nor is one that denies a label ("not X"):
    taking the first would reward a model that hedges.
    """
    own = [label for label in labels if label.strip() == text.strip()]
    if own:
        return own[0]
    said = _plain(text)
    whole = _whole(said, labels)
    if not whole:
        # A label and its explanation, in either order; "Label: X" and an explanation.
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        parts = [part for line in lines for part in (line, line.partition(":")[2].strip()) if part]
        whole = dict.fromkeys(label for part in parts for label in _whole(part, labels))
    if whole:
        return next(iter(whole)) if len(whole) == 1 else None
    mentioned, denied = _mentioned(said.casefold(), labels, fold=True)
    if len({_plain(label).casefold().strip() for label in mentioned}) == 1 < len(mentioned):
        mentioned, denied = _mentioned(said, mentioned, fold=False)  # labels that differ in case only
    return mentioned[0] if len(mentioned) == 1 and not denied else None


def _plain(text: str) -> str:
    """Return `text` in one Unicode form, with plain quotation marks and hyphens."""
    return UNSEEN.sub("", unicodedata.normalize("NFKC", text).translate(SAME)).strip()


def _whole(part: str, labels: list[str]) -> dict[str, None]:
    """Return the labels that `part` is, by the strictest comparison by which there are any: as written, then
    without regard to case, then to punctuation around. Words must be joined as in the label: `acorn fill` is
    not `acorn_fill`, which a program that takes the answer would not know either."""
    bare = MARKER.sub("", part)
    trimmed = {part, part.strip(QUOTES), part.rstrip(ENDS), part.strip(QUOTES + ENDS), part.strip(AROUND)}
    trimmed |= {bare, bare.strip(AROUND)}
    for form in (str, str.casefold, _without_punctuation):
        wanted = {form(text) for text in trimmed} - {""}
        same = [label for label in labels if form(_plain(label)) in wanted]
        if same:
            return dict.fromkeys([label for label in same if _plain(label) == part] or same)
    return {}


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _without_punctuation(text: str) -> str:
    return text.casefold().strip(AROUND)


def _mentioned(text: str, labels: list[str], fold: bool) -> tuple[list[str], bool]:
    """Return the labels that are words of `text`, and whether one of them is denied there. In scripts without
    spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), any position counts."""
    named: dict[str, list[str]] = {}
    text = _spaced(text)
    for label in labels:
        name = _spaced(_plain(label).casefold() if fold else _plain(label))
        if name:
            named.setdefault(name, []).append(label)
    # Longest first, so that "card lost" is no mention of "card".
    pattern = "|".join(_bounded(name) for name in sorted(named, key=len, reverse=True))
    found = [*re.finditer(pattern, text)] if pattern else []
    denied = any(
        NEGATED.search(text[: place.start()].casefold()) or NEGATED_AFTER.search(text[place.end() :])
        for place in found
    )
    return [label for name in dict.fromkeys(place[0] for place in found) for label in named[name]], denied


def _bounded(name: str) -> str:
    """Return the pattern of `name` as a word of its own."""
    before = "" if re.match(UNSPACED, name) else r"(?<!\w)"
    after = "" if re.search(rf"(?:{UNSPACED}|{HANGUL})$", name) else r"(?!\w)"
    # A Latin word between letters without blanks stands alone as well.
    before = before and rf"(?:{before}|(?<={UNSPACED}))"
    after = after and rf"(?:{after}|(?={UNSPACED}))"
    # Neither -1 nor 4.5 nor 4/5 names the label 1, 4 or 5.
    before += r"(?<!\d[.,/-])(?<!-)" if re.match(r"\d", name) else ""
    after += r"(?![.,/-]\d)" if re.search(r"\d$", name) else ""
    return f"{before}{re.escape(name)}{after}"
