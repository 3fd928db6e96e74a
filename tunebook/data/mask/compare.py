"""Compare all prepared rows with all rows of the files that they come from.

In: the prepared rows, the files. Out: how many agree, which differ, and what could not be compared. Axolotl
shuffles the rows, leaves out some and keeps no ids, so rows are found again by their supervised text: the
rows of the files and the prepared ones are compared as multisets. A row differs only where that is certain.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from jinja2 import TemplateError

from tunebook.core.paths import show
from tunebook.data.mask.bounds import EMPTY_THOUGHT, Bounds, openings
from tunebook.data.mask.faults import fault_of, recognised
from tunebook.data.mask.prepared import SIZE, Keys, Prepared, Texts
from tunebook.data.mask.wanted import Source, content, learned_turns, read_rows, read_wanted
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import learned, plain_text
from tunebook.runs.rows import Messages, RenderedRow
from tunebook.runs.supervised import SHOWN, Difference

TRIED = 200  # rows that are looked at more closely
COUNTED = 500  # of the missing rows the shortest, whose tokens are counted: where they are too long, all are
NEAR = 16  # tokens by which a count may be wrong
LOOKED_AT = 30  # prepared rows for which the row of a file is searched
UNCLEAR = "rows whose learned text is not just the content of their turns, or is empty"
CUT = "rows cut off at sequence_len"


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        sources: the files of rows.
        ends: the end-of-turn tokens.
        others: what prepared rows are that no source has; "": there are none.
        longest: longer rows are left out, or cut off if `cuts`; None: there are none.
        once: of equal rows, one is trained on.
        every_end: the end-of-turn token of each supervised turn is learned, not only that of the last one.
        pair: the rows are preference pairs.
    """

    sources: list[Source]
    ends: frozenset[int]
    others: str = ""
    longest: int | None = None
    cuts: bool = False
    once: bool = False
    every_end: bool = True
    pair: bool = False


@dataclass
class Compared:
    """How many prepared rows there are and differ, the first that do, how many longer rows are left out, and
    why how many are not compared."""

    rows: int
    differ: int = 0
    first: list[Difference] = field(default_factory=list)
    left_out: int = 0
    not_compared: Counter[str] = field(default_factory=Counter)


def compare(prepared: Prepared, plan: Plan, encoder: PromptEncoder) -> Compared:
    """Compare all prepared rows with the rows of the files.

    Raises:
        ValueError: a file is not as `Source.rows` needs it.
        OSError: a file cannot be read.
    """
    return _Comparison(prepared, plan, encoder).run()


class _Comparison:
    def __init__(self, prepared: Prepared, plan: Plan, encoder: PromptEncoder) -> None:
        self.prepared, self.plan, self.encoder = prepared, plan, encoder
        self.tokenizer = encoder.tokenizer
        self.texts = Texts(self.tokenizer)
        self.form, exact = encoder.learned_form, encoder.thinking is not None
        ends = set(plan.ends)
        self.bounds = Bounds(self.tokenizer, openings(encoder), ends, plan.pair, self.form, exact)
        self.wanted = read_wanted(plan.sources, encoder, self.texts)
        self.seen: set[bytes] = set()  # keys of prepared rows that a file has
        self.found = Compared(len(prepared))

    def run(self) -> Compared:
        """Compare: first by what settles nearly all rows, then by what few rows need."""
        left = self._by_key()
        left = self._by_rendered_text(left)
        left = self._not_cut_off(left)
        left = self._not_rewritten(left)
        # Any of the prepared rows that are left may be one of those that cannot be recognised.
        unclear = len(self.wanted.unclear) + sum(map(len, self.wanted.by_text.values()))
        surplus = 0 if self.plan.others else len(left) - unclear
        missing = self._missing(surplus)
        named, same = self._named(left, missing) if missing or surplus > 0 else ([], 0)
        differ = max(len(missing), surplus - same) if named else 0
        if differ > 0:
            self.found.differ += differ
            self.found.first += named
        if len(left) > differ:
            self.found.not_compared[self.plan.others or UNCLEAR] += len(left) - differ
        self.found.first = self.found.first[:SHOWN]
        return self.found

    def _by_key(self) -> dict[int, bytes | None]:
        """Return number and key of the prepared rows whose supervised text no row of a file has, and of those
        without any."""
        keys = Keys(self.texts, self.bounds, self.plan.every_end)
        left: dict[int, bytes | None] = {}
        number = 0
        for chunk in self.prepared.chunks():
            for key in keys.of(chunk):
                if not key or self.wanted.take(key) is None:
                    left[number] = key
                elif self.plan.once:
                    self.seen.add(key)
                number += 1
        return left

    def _by_rendered_text(self, left: dict[int, bytes | None]) -> dict[int, bytes | None]:
        """Compare rows with tool calls, which are recognised by all of their text, and then rows of which
        nothing is learned."""
        rest: dict[int, bytes | None] = {}
        for number, key in left.items():
            ids, labels = self.prepared.row(number) if self.wanted.by_text else ([], [])
            place = self.wanted.take_text(self.texts.key(self.texts.decoded([ids])))
            if place is None:
                rest[number] = key
            elif fault := fault_of(
                self.wanted.with_calls[place], ids, labels, self.bounds, self.plan.every_end
            ):
                self.found.differ += 1
                self.found.first.append(self._difference(place, fault))
        return {n: key for n, key in rest.items() if key != b"" or self.wanted.take(key) is None}

    def _not_cut_off(self, left: dict[int, bytes | None]) -> dict[int, bytes | None]:
        if not self.plan.cuts or self.plan.longest is None:
            return left
        rest = {n: key for n, key in left.items() if len(self.prepared.row(n)[0]) < self.plan.longest}
        if len(rest) < len(left):
            self.found.not_compared[CUT] += len(left) - len(rest)
        return rest

    def _not_rewritten(self, left: dict[int, bytes | None]) -> dict[int, bytes | None]:
        """Leave out rows that only look different: the tokenizer has no way to write their text as it is, or
        the template puts an empty thought before an answer."""
        numbers = self.wanted.left()
        step = max(1, len(numbers) // TRIED)
        if not self._rewritten(numbers[::step]) and not any(
            self._without_thought(number) != key[: len(key) // SIZE * SIZE]
            for number, key in [*left.items()][:TRIED]
            if key
        ):
            return left
        other: defaultdict[bytes, deque[int]] = defaultdict(deque)
        for number, written in self._rewritten(numbers, all_of_them=True).items():
            other[written].append(number)
        rest: dict[int, bytes | None] = {}
        taken: set[int] = set()
        for number, key in left.items():
            places = other.get(self._without_thought(number)) if key else None
            if places:
                taken.add(places.popleft())
            else:
                rest[number] = key
        self.wanted.leave_out(taken)
        return rest

    def _rewritten(self, numbers: Collection[int], all_of_them: bool = False) -> dict[int, bytes]:
        """Return rows of the files with the key of their text as the tokenizer writes it, where it is
        another."""
        found = {}
        for number, row in read_rows(self.plan.sources, numbers):
            texts = [turn["content"] for turn in learned_turns(row, self.form)]
            ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
            key = self.texts.key(self.texts.decoded(ids))
            if all_of_them or key != self.texts.key(texts):
                found[number] = key
        return found

    def _without_thought(self, number: int) -> bytes:
        runs = learned(*self.prepared.row(number))
        bodies = [run[: self.bounds.look([], run, [])[0]] for run in runs]
        empty = "" if self.bounds.exact else EMPTY_THOUGHT
        texts = [plain_text(text).removeprefix(empty) for text in self.texts.decoded(bodies)]
        return self.texts.key(texts)

    def _missing(self, changed: int) -> list[int]:
        """Return the rows of files that must be trained on and are not, unless there are no more of them than
        the `changed` rows that are trained on in their place."""
        whole = {number for number, source in enumerate(self.plan.sources) if source.whole}
        numbers = [n for n in self.wanted.left(self.seen) if self.wanted.places[n].source in whole]
        if len(numbers) <= changed:
            return []
        if self.plan.longest is None:
            return numbers
        rows = dict(read_rows(self.plan.sources, numbers))
        sizes = {number: _size(row) for number, row in rows.items()}
        numbers.sort(key=lambda number: sizes[number])
        frame = self._tokens([{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}])
        most = self.plan.longest - NEAR
        short: list[int] = []
        for place, number in enumerate(numbers):
            row = rows[number]
            if place >= COUNTED and not short:
                break
            # No token has less than a byte, and no template writes more around a turn than around two.
            certain = sizes[number] + frame * len(row["messages"]) <= most
            if certain or self._longest(row) <= most:
                short.append(number)
        self.found.left_out = 0 if self.plan.cuts else len(numbers) - len(short)
        return sorted(short)

    def _longest(self, row: RenderedRow) -> int:
        """Return the tokens of a row, with the longer of two answers."""
        messages, tools = row["messages"], row.get("tools")
        size = self._tokens(messages, tools)
        return (
            max(size, self._tokens([*messages[:-1], *row["rejected"]], tools)) if "rejected" in row else size
        )

    def _tokens(self, messages: Messages, tools: str | None = None) -> int:
        """Return the tokens of a conversation, very many if the template rejects it."""
        try:
            text = self.encoder.text(messages, tools)
        except (TemplateError, ValueError, TypeError, KeyError):
            return sys.maxsize
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _named(self, left: dict[int, bytes | None], missing: list[int]) -> tuple[list[Difference], int]:
        """Return some of the rows that differ, in the order of the files, and how many of those that were
        looked at do not differ after all."""
        numbers = list(left)[: min(TRIED, LOOKED_AT + len(self.wanted.unclear))]
        rows = [self.prepared.row(number) for number in numbers]
        faults, same = dict[int, str](), 0
        for index, place, row in recognised(self.texts, rows, self.plan.sources):
            if place in self.wanted.unclear:
                continue
            fault = fault_of(row, *rows[index], self.bounds, self.plan.every_end)
            if not fault and left[numbers[index]] == self.texts.key(
                [turn["content"] for turn in learned_turns(row, self.form)]
            ):
                fault = "it is trained on more often than the files have it."
            if fault:
                faults[place] = fault
            same += not fault
        if not faults and not same:
            faults = dict.fromkeys(missing[:SHOWN], "it is short enough, but not trained on.")
        named = [self._difference(place, faults[place]) for place in sorted(faults)[:SHOWN]]
        if not named and not same and rows:
            text = self.texts.decoded([rows[0][0]])[0]
            text = f"a row is trained on that is in none of the files: {text[:60]!r}."
            named.append(Difference(file="", line=0, id="", text=text))
        return named, same

    def _difference(self, place: int, text: str) -> Difference:
        source, line, id = self.wanted.places[place]
        return Difference(file=show(self.plan.sources[source].path), line=line, id=id, text=text)


def _size(row: RenderedRow) -> int:
    """Return the bytes of a row's texts."""
    texts = [content(turn) for turn in (*row["messages"], *row.get("rejected", []))]
    return sum(len(text.encode("utf-8", "replace")) for text in (*texts, row.get("tools") or ""))
