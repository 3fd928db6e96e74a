"""Which answers of conversations the numbers of a run are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunebook.data.formats.turns import count
from tunebook.metrics.answers import Answer
from tunebook.metrics.schema import TurnCounts
from tunebook.report import names
from tunebook.runs.rows import RenderedRow


def scored_turns(rows: list[RenderedRow], records: list[Answer]) -> TurnCounts | None:
    """Return the counts of the turns that were scored, and at which ones answers were generated; None where
    each row has one answer.

    Args:
        rows: those of the split.
        records: the answers of one contender to them.
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
    """Return "all" where all trained answers of conversations were scored, else "last"; numbers of the two
    cannot be compared."""
    turns = measured.get("turns")
    return str(turns["evaluated"]) if turns else "last"


def in_words(turns: TurnCounts | None) -> str:
    """Return the counts in a sentence or two; "" where there are none."""
    if turns is None:
        return ""
    scored, talks = turns["scored"], names.count(turns["conversations"], "conversation")
    generated = names.count(turns["generated"], "answer")
    same = f"{turns['repeated'] or 'none'} of them only repeat what other conversations say"
    if turns["evaluated"] == "last":
        return f"Only the last answer of {talks} is scored, not the earlier ones; {same}."
    return (
        f"Bits per byte are of all {scored} trained answers in {talks}; {same}. The other metrics are of "
        f"{generated}, one per conversation, drawn with more weight on references that say more; "
        f"{turns['generated_last']} of them are last turns."
    )
