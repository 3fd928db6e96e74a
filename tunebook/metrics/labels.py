"""Which label an answer names. docs/metrics.md states the rule, tests/metrics/test_read_label.py tests its
cases."""

from __future__ import annotations

import re
import unicodedata

from tunebook.core.words import UNSPACED

QUOTES = "\"'`\u00ab\u00bb\u300c\u300d\u300e\u300f"
ENDS = ".,:;!?\u3002\u3001\u0964\u061f\u060c"
AROUND = QUOTES + ENDS + "*_#()[]{}<>"
MARKER = re.compile(r"^(?:[-*\u2022#>]+|\d+[.)])\s+")  # markers of a list, a heading or a quotation
# Typographic variants that NFKC keeps apart, and invisible characters: soft hyphen, zero width, emoji style.
SAME = str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212", "''\"\"------")
UNSEEN = re.compile("[\u00ad\u200b\u2060\ufe0e\ufe0f\ufeff]")
HANGUL = "[\uac00-\ud7a3]"  # syllables; Korean particles follow a word without a space
QUOTED = f"[{re.escape(QUOTES)}*]*"
# "not a X", "isn't X", "non-X", and the like in German, French, Portuguese, Chinese; Japanese and Korean
# negate after the word.
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
    """Return the label that `text` names: the label is the whole text, or a whole line, or the only label
    mentioned. Otherwise return None.

    The same rule applies to every contender: a base model that chats around its label still gets its point.
    Exact matches come first, so that labels that differ only in case or punctuation (US and us, B and B*) can
    each be right. An answer that names two labels or negates one ("not X") is invalid: taking the first label
    would reward a model that hedges.
    """
    own = [label for label in labels if label.strip() == text.strip()]
    if own:
        return own[0]
    plain = _plain(text)
    whole = _whole(plain, labels)
    if not whole:
        # A label and its explanation, in either order, or "Label: X" and an explanation.
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        parts = [part for line in lines for part in (line, line.partition(":")[2].strip()) if part]
        whole = dict.fromkeys(label for part in parts for label in _whole(part, labels))
    if whole:
        return next(iter(whole)) if len(whole) == 1 else None
    mentioned, denied = _mentioned(plain.casefold(), labels, fold=True)
    if len({_plain(label).casefold().strip() for label in mentioned}) == 1 < len(mentioned):
        mentioned, denied = _mentioned(plain, mentioned, fold=False)  # labels that differ in case only
    return mentioned[0] if len(mentioned) == 1 and not denied else None


def _plain(text: str) -> str:
    """Return `text` in one Unicode form, with plain quotation marks and hyphens."""
    return UNSEEN.sub("", unicodedata.normalize("NFKC", text).translate(SAME)).strip()


def _whole(part: str, labels: list[str]) -> dict[str, None]:
    """Return the labels that equal `part`, by the strictest comparison that matches any: exact, then ignoring
    case, then ignoring surrounding punctuation.

    Words must be joined as in the label: `acorn fill` is not `acorn_fill`, because a program that parses the
    answer would not accept it either."""
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
    """Return the labels that occur as words in `text`, and whether one of them is negated. In scripts without
    spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), any position counts."""
    named: dict[str, list[str]] = {}
    text = _spaced(text)
    for label in labels:
        name = _spaced(_plain(label).casefold() if fold else _plain(label))
        if name:
            named.setdefault(name, []).append(label)
    # Longest first, so that "card lost" does not count as a mention of "card".
    pattern = "|".join(_bounded(name) for name in sorted(named, key=len, reverse=True))
    found = [*re.finditer(pattern, text)] if pattern else []
    denied = any(
        NEGATED.search(text[: place.start()].casefold()) or NEGATED_AFTER.search(text[place.end() :])
        for place in found
    )
    return [label for name in dict.fromkeys(place[0] for place in found) for label in named[name]], denied


def _bounded(name: str) -> str:
    """Return the pattern of `name` as a separate word."""
    before = "" if re.match(UNSPACED, name) else r"(?<!\w)"
    after = "" if re.search(rf"(?:{UNSPACED}|{HANGUL})$", name) else r"(?!\w)"
    # A Latin word between letters of a script without spaces is also a separate word.
    before = before and rf"(?:{before}|(?<={UNSPACED}))"
    after = after and rf"(?:{after}|(?={UNSPACED}))"
    # -1, 4.5 and 4/5 do not name the labels 1, 4 and 5.
    before += r"(?<!\d[.,/-])(?<!-)" if re.match(r"\d", name) else ""
    after += r"(?![.,/-]\d)" if re.search(r"\d$", name) else ""
    return f"{before}{re.escape(name)}{after}"
