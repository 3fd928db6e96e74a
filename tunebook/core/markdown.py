"""Markdown tables, which Tunebook writes only through this module, and control characters made visible in
text of models and rows."""

from __future__ import annotations

import re
import unicodedata

from tabulate import tabulate

PLACEHOLDER = re.compile(r"(?<![`\w./<-])[\w./-]*<\w+>(?:[\w./<>-]*[\w/>])?")
# control, direction and other invisible characters, line separators
SHOWN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
# Part of words in Persian and Indic scripts and of emoji, and of Arabic numbers.
WRITTEN = "\n\t\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f"


def markdown_table(rows: list[dict[str, str]]) -> str:
    """Return `rows` as a Markdown table; the keys of the first row become the header."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def with_placeholders(text: str) -> str:
    """Return text whose words with a placeholder, such as <recipe>/latest, are in code: browsers take a bare
    one for an unknown tag and do not show it."""
    return PLACEHOLDER.sub(r"`\g<0>`", text)


def visible(text: str) -> str:
    """Return `text` with control and text-direction characters written out, so that untrusted text cannot
    move the cursor, color the screen, set the clipboard or reverse the line."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char in WRITTEN or unicodedata.category(char) not in SHOWN
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{ord(char):04x}"
        for char in text
    )
