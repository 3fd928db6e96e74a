"""Markdown tables, the only way that Tunebook writes them, and text of models and rows made safe to show."""

from __future__ import annotations

import unicodedata

from tabulate import tabulate

SHOWN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")  # control, direction and other invisible marks, line separators
# Part of words in Persian and Indic scripts and of emoji, and of Arabic numbers.
WRITTEN = "\n\t\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f"


def markdown_table(rows: list[dict[str, str]]) -> str:
    """Return `rows` as a Markdown table; the first row's keys are its head."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def visible(text: str) -> str:
    """Return `text` with control characters and marks of direction written out: who wrote it must not move
    the cursor, color the screen, set the clipboard or turn the line around."""
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
