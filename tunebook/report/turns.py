"""Which answers of conversations the numbers of a run are based on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunebook.data.formats.turns import count
from tunebook.metrics.answers import Answer
from tunebook.metrics.schema import TurnCounts
from tunebook.report import names
from tunebook.runs.rows import RenderedRow


def scored_turns(rows: list[RenderedRow], records: list[Answer]) -> TurnCounts | None:
    """Return the counts of the scored turns, and of the turns for which answers were generated; None if each
    row has one answer.

    Args:
        rows: the rows of the split.
        records: the answers of one contender to these rows.
    """
    counts = count(rows)
    if counts is None:
        return None
    whole = any("turns" in record for record in records)
    generated = [
        record["turn"] == len(row["messages"]) - 1 if "turn" in record else True
        for row, record in zip(rows, records, strict=True)
        if "answer" in record
    ]
    return {
        "evaluated": "all" if whole else "last",
        "scored": counts.turns if whole else counts.last,
        "repeated": counts.repeated if whole else counts.last_repeated,
        "conversations": counts.last,
        "generated": len(generated),
        "generated_last": sum(generated),
    }


def evaluated(measured: Mapping[str, Any]) -> str:
    """Return "all" if all trained answers of conversations were scored, otherwise "last"; numbers of the two
    are not comparable."""
    turns = measured.get("turns")
    return str(turns["evaluated"]) if turns else "last"


def in_words(turns: TurnCounts | None) -> str:
    """Return the counts in a sentence or two; "" if there are none."""
    if turns is None:
        return ""
    scored, talks = turns["scored"], names.count(turns["conversations"], "conversation")
    generated = names.count(turns["generated"], "answer")
    same = f"{turns['repeated'] or 'none'} of them only repeat answers of other conversations"
    if turns["evaluated"] == "last":
        return f"Only the last answer of {talks} is scored, not the earlier ones; {same}."
    return (
        f"Bits per byte are measured on all {scored} trained answers in {talks}; {same}. The other metrics "
        f"are measured on {generated}, one per conversation, sampled in favour of informative references; "
        f"{turns['generated_last']} of them end a conversation."
    )
