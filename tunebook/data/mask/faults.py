"""What is wrong with the labels of one row, and which row of the files a prepared row is."""

from __future__ import annotations

from collections.abc import Iterator

from tunebook.data.mask.bounds import BEHIND, Bound, Bounds
from tunebook.data.mask.prepared import Texts
from tunebook.data.mask.wanted import Source, content, learned_turns
from tunebook.data.stretches import IGNORED, plain_text, turn_faults
from tunebook.runs.rows import RenderedRow

HEAD = 20  # letters by which a turn is recognised
Labelled = tuple[list[int], list[int]]  # token ids and labels of a row


def fault_of(row: RenderedRow, ids: list[int], labels: list[int], bounds: Bounds, every_end: bool) -> str:
    """Return what is wrong with the labels of a row, "" for nothing.

    Args:
        every_end: the end-of-turn token of each supervised turn is learned, not only that of the last one.
    """
    if any(label not in (IGNORED, id) for id, label in zip(ids, labels, strict=True)):
        return "other tokens than its own are trained on."
    turns, own = learned_turns(row, bounds.form), learned_turns(row)
    faults = turn_faults(bounds.tokenizer, turns, ids, labels, bounds.exact)
    if faults:
        return faults[0]
    at = 0
    for number, turn in enumerate(own, 1):
        start = next(place for place in range(at, len(labels)) if labels[place] != IGNORED)
        at = next((place for place in range(start, len(labels)) if labels[place] == IGNORED), len(labels))
        before = ids[max(0, start - bounds.width) : start]
        bound = bounds.look(before, ids[start:at], ids[at : at + BEHIND])[1]
        last = number == len(turns)
        accepted = {Bound.FINE}
        if not last or (turn is not row["messages"][-1] and "rejected" not in row):
            accepted.add(Bound.OPEN)
        if not (last or every_end):
            accepted.add(Bound.UNLEARNED)
        if bound not in accepted:
            return f"assistant turn {number}: {bound.value}"
    return ""


def recognised(
    decode: Texts, prepared: list[Labelled], sources: list[Source]
) -> Iterator[tuple[int, int, RenderedRow]]:
    """Yield the index of each prepared row that is a row of the files by the beginnings of its turns, the
    number of that row among all, and the row. Of several rows, it is the one with the most text."""
    texts = [plain_text(text) for text in decode.decoded([ids for ids, _ in prepared])]
    best: dict[int, tuple[int, int, RenderedRow]] = {}
    rows = (row for source in sources if texts for _, row in source.rows())
    for place, row in enumerate(rows):
        learned = learned_turns(row)
        turns = [(plain_text(content(turn)), turn in learned) for turn in row["messages"]]
        for number, text in enumerate(texts):
            if all(is_learned or turn[:HEAD] in text for turn, is_learned in turns):
                score = sum(len(turn) if turn in text else HEAD * (turn[:HEAD] in text) for turn, _ in turns)
                if number not in best or score > best[number][0]:
                    best[number] = score, place, row
    for number, (_, place, row) in best.items():
        yield number, place, row
