"""Warn of API keys, e-mail addresses and card numbers in rows; they are counted and never shown in full.

`look_for_secrets: false` in dataset.yaml switches this off.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tunebook.check.findings import Finding, Findings
from tunebook.check.rows import Seen
from tunebook.core.secrets import find_keys

EMAIL = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,})")
CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")
RESERVED = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$")  # RFC 2606


def luhn(number: str) -> bool:
    """Return whether the digits of `number` pass the check-digit test of card numbers (ISO/IEC 7812-1)."""
    digits = [int(c) for c in number if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


class Secret(NamedTuple):
    """Something that should not be in a row: its kind, its text, and the code of the finding."""

    kind: str
    text: str
    code: str


def find(text: str) -> list[Secret]:
    """Return everything in `text` that looks like a secret or personal data."""
    found = [Secret("API keys", key, code="secrets.api_key") for key in find_keys(text)]
    if "@" in text:
        mails = (match for match in EMAIL.finditer(text) if not RESERVED.search(match[1]))
        found += [Secret("e-mail addresses", match[0], code="secrets.email_address") for match in mails]
    cards = (match for match in CARD.finditer(text) if luhn(match[0]))
    found += [Secret("card numbers", match[0], code="secrets.card_number") for match in cards]
    return found


def masked(text: str) -> str:
    """Return just enough of `text` to find it again."""
    return f"{text[:3]}... ({len(text)} characters)"


class Secrets:
    """Searches every turn except the system turn."""

    def __init__(self, found: Findings) -> None:
        self.found = found

    def see(self, seen: Seen) -> None:
        for secret in find(f"{seen.prompt}\n{seen.answer}"):
            self.found.add(
                Finding(
                    "warning",
                    f"{secret.kind} in rows",
                    f"{masked(secret.text)}; a model can reproduce its training data.",
                    "Remove or replace it, or set `look_for_secrets: false` in dataset.yaml.",
                    seen.place,
                    seen.line,
                    code=secret.code,
                )
            )

    def finish(self) -> None:
        """Add nothing: findings were added row by row."""
