"""Special tokens of the base model's chat template in the text of rows: every row of every split is searched.

In: rows, one at a time, while Axolotl is being imported; later the tokens of the recipe's own tokenizer and
template. Out: findings. The tokenizer is only known later, so rows are searched for text that has the form of
such tokens (tunebook/data/markers.py); a sample of train is also searched for exactly its tokens.
"""

from __future__ import annotations

from typing import Any

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Seen
from tunebook.data.markers import marks_in
from tunebook.data.tool_calls import texts

KIND = "special tokens in row text"
FOREIGN = "special tokens of other models"


class Marks:
    """Remembers the rows whose text has the form of a special token."""

    def __init__(self) -> None:
        # by file, line and id, because several rows may come from one line
        self.rows: dict[tuple[str, int, str], set[str]] = {}
        self.searched = 0

    def see(self, seen: Seen) -> None:
        self.searched += 1
        rejected = [turn["content"] for turn in seen.row.get("rejected", [])]
        if found := set[str]().union(*map(marks_in, [*texts(seen.row), *rejected])):
            self.rows[_place(seen)] = found

    def finish(self) -> None:
        """Add nothing yet: the tokenizer is not known at this point."""


def _place(seen: Seen) -> tuple[str, int, str]:
    return seen.place, seen.line, str(seen.row["id"])


def report(
    marks: Marks, answer: dict[str, Any] | None, sample: list[Seen], found: Findings, accepted: int
) -> None:
    """Add an error for each row whose text contains a token of the tokenizer or the template, and a warning
    for each that contains one of another model.

    Args:
        answer: the answer of the child process, or None if it had no rows.
        accepted: `allow_special_tokens` of dataset.yaml.
    """
    if answer is None:
        return
    known = set(answer.get("marks", []))
    placed = {place: min(both) for place, names in marks.rows.items() if (both := names & known)}
    for index, name in answer.pop("special", {}).items():
        placed.setdefault(_place(sample[int(index)]), name)
    for (file, line, _), names in sorted(marks.rows.items()):
        if others := names - known:
            text = (
                f"its text contains {min(others)!r}, which has the form of another model's special token and "
                "is plain text to this one: it would be read and written as it stands."
            )
            do = "Remove it if it is left over from another chat template."
            found.add(Finding("warning", FOREIGN, text, do, file, line, code="tokens.foreign_in_text"))
    found.facts["special tokens"] = {"rows": len(placed), "of": marks.searched}
    grade: Grade = "note" if len(placed) <= accepted else "error"
    for (file, line, _), name in sorted(placed.items()):
        text = (
            f"its text contains {name!r}, a token of the tokenizer or chat template: it can end or start a "
            "turn. To make it plain text, set `special_tokens: escape` in dataset.yaml; to accept all of "
            f"these, set `allow_special_tokens: {len(placed)}`."
        )
        found.add(Finding(grade, KIND, text, file=file, line=line, code="tokens.special_in_text"))
