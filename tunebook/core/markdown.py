"""Markdown tables, the only way that Tunebook writes them."""

from __future__ import annotations

from tabulate import tabulate


def markdown_table(rows: list[dict[str, str]]) -> str:
    """Return `rows` as a Markdown table; the first row's keys are its head."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
