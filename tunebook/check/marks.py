"""Tokens of the base model's chat template in the text of rows: every row of every split is searched.

In: rows, one at a time, while Axolotl is imported; afterwards the tokens of the recipe's own tokenizer and
template. Out: findings. The rows are searched by the form of such tokens (tunebook/data/markers.py), because
the tokenizer is only known later; a sample of train is also searched for exactly its tokens.
"""

from __future__ import annotations

from typing import Any

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Seen
from tunebook.data.markers import marks_in
from tunebook.data.tool_calls import texts

KIND = "special tokens in row text"


class Marks:
    """Remembers the rows whose text has the form of a template's token."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int, str], set[str]] = {}  # by file, line and id: rows may share a line
        self.searched = 0

    def see(self, seen: Seen) -> None:
        self.searched += 1
        rejected = [turn["content"] for turn in seen.row.get("rejected", [])]
        if found := set[str]().union(*map(marks_in, [*texts(seen.row), *rejected])):
            self.rows[_place(seen)] = found

    def finish(self) -> None:
        """Add nothing yet: the tokenizer is not known."""


def _place(seen: Seen) -> tuple[str, int, str]:
    return seen.place, seen.line, str(seen.row["id"])


def report(
    marks: Marks, answer: dict[str, Any] | None, sample: list[Seen], found: Findings, accepted: int
) -> None:
    """Add a finding for each row whose text holds a token of the tokenizer or the template.

    Args:
        answer: the child's, None where it was not asked about rows.
        accepted: `allow_special_tokens` of dataset.yaml.
    """
    if answer is None:
        return
    known = set(answer.get("marks", []))
    placed = {place: min(both) for place, names in marks.rows.items() if (both := names & known)}
    for index, name in answer.pop("special", {}).items():
        placed.setdefault(_place(sample[int(index)]), name)
    found.facts["special tokens"] = {"rows": len(placed), "of": marks.searched}
    grade: Grade = "note" if len(placed) <= accepted else "error"
    for (file, line, _), name in sorted(placed.items()):
        text = (
            f"its text contains {name!r}, a token of the tokenizer or chat template: it can end or open a "
            "turn. Make it plain with `special_tokens: escape` in dataset.yaml, or accept all of them: "
            f"`allow_special_tokens: {len(placed)}`."
        )
        found.add(Finding(grade, KIND, text, file=file, line=line, code="tokens.special_in_text"))
