"""Texts that occur more than once: exact, the same but for case, spaces and punctuation, and near.

Near-duplicates are proposed by MinHash over single words (Broder 1997; datasketch) and proved by counting
the words that differ (rapidfuzz). Single words, because two changes in a row of eight leave hardly a
longer shingle whole. Matches are shown, never deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Sample, Seen
from tunebook.paths import ROOT, show

if TYPE_CHECKING:
    from datasketch import MinHash

MIN_WORDS = 8  # the longer one of a pair; shorter rows are compared exactly and normalised only
MAX_CHANGES = 2
# One word in twelve, and the same answer: on banking77, under 1 % of the test rows.
NEAR_SHARE = 12
BANDS, ROWS = 32, 4  # finds 98 % of pairs with six of ten words in common, 5 % of those with one in five
MAX_INDEXED = 100_000
EVALUATION = "evaluation texts"
TEXTS = ("text", "question", "prompt", "context")  # of which each item of evals/ has one
SAME_WORDS = "duplicates but for case, spaces and punctuation"


def changes(a: list[str], b: list[str]) -> int | None:
    """Return how many words differ (word Levenshtein distance), None for more than two, and more than
    one in twelve of a longer row."""
    if max(len(a), len(b)) < MIN_WORDS:
        return None
    most = max(MAX_CHANGES, max(len(a), len(b)) // NEAR_SHARE)
    distance = Levenshtein.distance(a, b, score_cutoff=most)
    return distance if distance <= most else None


@cache
def _blank() -> MinHash:
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS)


class NearIndex:
    """Texts that others are compared with: `find` gives those that differ in few words."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH  # a second: it imports scipy's integration

        self.lsh = MinHashLSH(params=(BANDS, ROWS), num_perm=BANDS * ROWS)
        self.entries: list[tuple[Seen, list[str]]] = []
        self.left_out = 0

    def sketch(self, seen: Seen) -> MinHash | None:
        if len(seen.words) < MIN_WORDS - MAX_CHANGES:
            return None
        hashed = _blank().copy()
        hashed.update_batch([word.encode() for word in set(seen.words)])
        return hashed

    def add(self, seen: Seen, sketch: MinHash | None) -> None:
        if sketch is None:
            return
        if len(self.entries) >= MAX_INDEXED:
            self.left_out += 1
            return
        self.lsh.insert(len(self.entries), sketch)
        self.entries.append((seen, seen.words))

    def find(self, seen: Seen, sketch: MinHash | None) -> tuple[Seen, int] | None:
        """Return the nearest indexed text and how many words differ; rows of one group of one split are
        meant to be alike and are not compared."""
        best: tuple[Seen, int] | None = None
        for number in self.lsh.query(sketch) if sketch is not None else []:
            other, theirs = self.entries[number]
            if other.split == seen.split and other.row["group"] == seen.row["group"]:
                continue
            count = changes(seen.words, theirs)
            if count is not None and (best is None or count < best[1]):
                best = other, count
        return best


class Duplicates:
    """Watches for repeated texts inside and across splits, and against the texts of the evaluation."""

    def __init__(
        self, found: Findings, sample: Sample | None = None, evaluation: Path = ROOT / "evals"
    ) -> None:
        self.found, self.sample = found, sample
        self.exact: dict[bytes, tuple[int, int]] = {}
        self.same_words: dict[bytes, tuple[int, int]] = {}
        self.places: list[tuple[str, str]] = []
        self.index = NearIndex()
        for seen in evaluation_texts(evaluation):
            self.see(seen)

    def see(self, seen: Seen) -> None:
        if not seen.words:
            return
        if not self.places or self.places[-1] != (seen.split, seen.place):
            self.places.append((seen.split, seen.place))
        here = (len(self.places) - 1, seen.line)
        exact = self.exact.setdefault(_key(seen.asked), here)
        same = self.same_words.setdefault(_key(" ".join(seen.words)), here)
        first = same if exact is here else exact
        if first is not here:
            kind = "exact duplicates" if exact is not here else SAME_WORDS
            self._report(seen, kind, self.places[first[0]], first[1], "")
            return
        sketch = None
        if seen.split != "train" or self.index.entries:
            sketch = self.index.sketch(seen)
            match = self.index.find(seen, sketch)
            if match:
                self._report_near(seen, *match)
        if seen.split != "train":
            self.index.add(seen, sketch)

    def finish(self) -> None:
        inside = NearIndex()
        for seen in self.sample.rows if self.sample else []:
            sketch = inside.sketch(seen)
            match = inside.find(seen, sketch)
            if match and match[1]:  # without a difference it is reported above
                self._report_near(seen, *match)
            inside.add(seen, sketch)
        if self.sample:
            looked = {"rows": len(self.sample.rows), "of": self.sample.total}
            self.found.facts["near-duplicates inside train"] = looked
        if self.index.left_out:
            self.found.skip(
                f"near-duplicates of {self.index.left_out} further dev and test rows",
                f"only {MAX_INDEXED} are indexed",
            )

    def _report_near(self, seen: Seen, other: Seen, count: int) -> None:
        length = max(len(seen.words), len(other.words))
        same_answer = other.split == EVALUATION or other.answer == seen.answer
        near = count * NEAR_SHARE <= length and same_answer
        kind = "near-duplicates" if near else "close texts, at most two words apart"
        answers = "" if same_answer else f", answers {seen.answer[:40]!r} and {other.answer[:40]!r}"
        differ = f", {count} of {length} words differ{answers}: {_short(other.asked)}"
        self._report(seen, kind, (other.split, other.place), other.line, differ)

    def _report(self, seen: Seen, kind: str, place: tuple[str, str], line: int, more: str) -> None:
        split, file = place
        across = split != seen.split
        between = "across splits" if across else f"inside {split}"
        if split == EVALUATION:
            between = f"with {EVALUATION}"
        alarm = across and not kind.startswith("close")
        # To be left alone inside train unless there are many: they count twice, but leak nothing.
        do = "Remove one side: what is tested must not be trained on." if alarm else ""
        text = f"{_short(seen.asked)} is also {file}:{line}{more}."
        if more:
            text = f"{_short(seen.asked)} is near {file}:{line}{more}."
        grade: Grade = "warning" if alarm else "note"
        self.found.add(Finding(grade, f"{kind} {between}", text, do, seen.place, seen.line))


def evaluation_texts(folder: Path) -> Iterator[Seen]:
    """Yield the texts of every JSONL file below `folder`, as rows of a split of their own."""
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line, value in enumerate(map(json.loads, file), 1):
                text = next((value[key] for key in TEXTS if key in value), "")
                turns = [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]
                row = {"id": f"{path.stem}-{line}", "group": f"{path.stem}-{line}", "messages": turns}
                yield Seen(EVALUATION, show(path), line, {**row, "gold": {"answer": ""}})


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 90 else text[:87] + "...")
