"""Texts that occur more than once, within and across splits: exact, normalised and near-duplicates
(tunebook/data/near_duplicates.py).

Duplicates are reported, never deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import ORDER, Rows, Sample, Seen
from tunebook.core.paths import ROOT, show
from tunebook.data.near_duplicates import BLOCK, SHARE, Index, NearPairs, Prompt, Stripper, key
from tunebook.runs.rows import RenderedRow, Turn

MAX_INDEXED = 100_000
EVALUATION = "evaluation texts"
TEXTS = ("text", "question", "prompt", "context")  # every item of evals/ has one of these fields
Where = tuple[str, str, int]  # split, file, line
SAME_WORDS = "duplicates except for case, spaces and punctuation"


class Duplicates:
    """Watches for repeated texts within and across splits, and in the evaluation texts.

    Where the rows come with their near-duplicates, because cutting the splits or an earlier check has looked
    for them, only the evaluation texts are indexed. Otherwise dev and test are, too: train is compared with
    them in blocks as it streams by, and what is found is kept with the rows.
    """

    def __init__(
        self,
        found: Findings,
        sample: Sample | None = None,
        evaluation: Path = ROOT / "evals",
        strip: Stripper = list,
        labelled: bool = False,
        rows: Rows | None = None,
    ) -> None:
        self.found, self.sample, self.strip, self.labelled = found, sample, strip, labelled
        self.exact: dict[bytes, Where] = {}
        self.same_words: dict[str, Where] = {}
        self.held: list[Seen] = []
        self.waiting: list[Seen] = []
        self.left_out = 0
        self.index: Index | None = None
        self.rows = rows
        self.known: NearPairs | None = None  # near-duplicates among the rows
        self.paired: dict[str, Seen | None] = {}  # by the keys in `known`
        self.pairs: NearPairs = []  # those found here
        self.begun = False
        for seen in evaluation_texts(evaluation):
            self.see(seen)

    def see(self, seen: Seen) -> None:
        if not self.begun and seen.split != EVALUATION:
            self.begun, self.known = True, self.rows.near() if self.rows else None
            self.paired = {key: None for pair in self.known or () for key in pair[:2]}
        here = (seen.split, seen.place, seen.line)
        exact = self.exact.setdefault(_key(seen.prompt), here)
        words = key(seen.words, seen.prompt)
        same = self.same_words.setdefault(words, here)
        if exact is not here:
            self._report(seen, "exact duplicates", exact, "", code="duplicates.exact")
        elif same is not here:
            self._report(seen, SAME_WORDS, same, "", code="duplicates.same_words")
        elif seen.split == EVALUATION or (
            seen.split != "train" and self.known is None and len(self.held) < MAX_INDEXED
        ):
            self.held.append(seen)
        else:
            self.left_out += seen.split != "train" and self.known is None
            if words in self.paired:
                self.paired[words] = seen
            self.waiting.append(seen)
            if len(self.waiting) >= BLOCK:
                self._compare()

    def finish(self) -> None:
        self._compare()
        if self.known is not None:
            self._near_known(self.known)
            if self.sample:
                total = self.sample.total
                self.found.facts["near-duplicates inside train"] = {"rows": total, "of": total}
        elif self.sample:
            rows = self.sample.rows
            self._near(rows, rows, Index(self._prompts(rows)).near())
            self.found.facts["near-duplicates inside train"] = {"rows": len(rows), "of": self.sample.total}
            if self.rows and not self.left_out and len(rows) == self.sample.total:  # of a part, the part
                self.rows.keep_near(self.pairs)
        if self.left_out:
            self.found.skip(
                f"near-duplicates of {self.left_out} further dev and test rows",
                f"only {MAX_INDEXED} are indexed",
            )

    def _compare(self) -> None:
        """Compare the waiting rows with the index, which is built after dev and test have been read."""
        if self.index is None:
            self.index = Index(self._prompts(self.held))
            self._near(self.held, self.held, self.index.near())
        self._near(self.waiting, self.held, self.index.near(self._prompts(self.waiting)))
        self.waiting = []

    def _near_known(self, pairs: NearPairs) -> None:
        """Report each row with the nearest of those seen before it, in train apart for train and the rest."""
        nearest: dict[tuple[int, bool], tuple[int, Seen, Seen]] = {}
        for one, other, count in pairs:
            first, second = self.paired[one], self.paired[other]
            if first is None or second is None or first is second:
                continue
            if _order(first) > _order(second):
                first, second = second, first
            at = (id(second), first.split == "train")
            found = (count, second, first)
            nearest[at] = min(nearest.get(at, found), found, key=lambda pair: (pair[0], _order(pair[2])))
        for count, seen, near in nearest.values():
            self._report_near(seen, near, count)

    def _prompts(self, rows: list[Seen]) -> list[Prompt]:
        words, labelled = self.strip, self.labelled
        return [Prompt(words(s.words), s.answer if labelled else "", (s.split, s.row["group"])) for s in rows]

    def _near(self, rows: list[Seen], others: list[Seen], pairs: Iterable[tuple[int, int, int]]) -> None:
        """Report each row with its nearest other row; exact matches have already been reported."""
        nearest: dict[int, tuple[int, int]] = {}
        for one, other, count in pairs:
            nearest[one] = min(nearest.get(one, (count, other)), (count, other))
            near = [rows[one], others[other]]
            if self.rows and EVALUATION not in (near[0].split, near[1].split):
                self.pairs.append((*(key(seen.words, seen.prompt) for seen in near), count))  # type: ignore[arg-type]
        for one, (count, other) in sorted(nearest.items()):
            if count:
                self._report_near(rows[one], others[other], count)

    def _report_near(self, seen: Seen, other: Seen, count: int) -> None:
        length = max(len(self.strip(one.words)) for one in (seen, other))
        same_answer = other.split == EVALUATION or other.answer == seen.answer
        # At most one word in twelve differs, and the answer is the same: on banking77, under 1 % of the test
        # rows.
        near = count * SHARE <= length and same_answer
        answers = "" if same_answer else f", answers {seen.answer[:40]!r} and {other.answer[:40]!r}"
        differ = f", {count} of {length} words differ{answers}: {_short(other.prompt)}"
        where = (other.split, other.place, other.line)
        if near:
            self._report(seen, "near-duplicates", where, differ, code="duplicates.near")
        else:
            self._report(seen, "close texts, at most two words apart", where, differ, code="duplicates.close")

    def _report(self, seen: Seen, kind: str, where: Where, more: str, *, code: str) -> None:
        split, file, line = where
        across = split != seen.split
        between = "across splits" if across else f"inside {split}"
        if split == EVALUATION:
            between = f"with {EVALUATION}"
        alarm = across and not kind.startswith("close")
        # Inside train, a few duplicates can be left alone: they count twice, but leak nothing.
        do = "Remove one of them: held-out data must not appear in training data." if alarm else ""
        text = f"{_short(seen.prompt)} is {'near' if more else 'also'} {file}:{line}{more}."
        grade: Grade = "warning" if alarm else "note"
        self.found.add(Finding(grade, f"{kind} {between}", text, do, seen.place, seen.line, code=code))


def evaluation_texts(folder: Path) -> Iterator[Seen]:
    """Yield the texts of every JSONL file below `folder`, as rows of a separate split."""
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line, value in enumerate(map(json.loads, file), 1):
                text = next((value[key] for key in TEXTS if key in value), "")
                name, question = f"{path.stem}-{line}", Turn(role="user", content=text)
                turns = [question, Turn(role="assistant", content="")]
                row = RenderedRow(id=name, group=name, messages=turns, gold={"answer": ""})
                yield Seen(EVALUATION, show(path), line, row)


def _order(seen: Seen) -> tuple[int, str, int]:
    """Return when a row is seen: dev, test, and train in the order of its lines."""
    return ORDER.index(seen.split), seen.place, seen.line


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 90 else text[:87] + "...")
