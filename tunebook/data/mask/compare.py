"""Compare all prepared rows with all rows of the files that they come from.

In: the prepared rows, the files. Out: how many agree, which differ, and what could not be compared. Axolotl
shuffles the rows, leaves out some and keeps no ids, so rows are found again by their supervised text: the
rows of the files and the prepared ones are compared as multisets. A row differs only where that is certain.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from jinja2 import TemplateError

from tunebook.core.paths import show
from tunebook.data.mask.bounds import BEHIND, EMPTY_THOUGHT, Bound, Bounds, opening
from tunebook.data.mask.prepared import SIZE, Keys, Prepared, decoded, key_of
from tunebook.data.mask.wanted import Source, learned_turns, read_wanted
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import IGNORED, learned, plain_text, turn_faults
from tunebook.runs.rows import RenderedRow
from tunebook.runs.supervised import SHOWN, Difference

TRIED = 200  # rows; where none of them is written another way by the tokenizer, none is
COUNTED = 500  # of the missing rows the shortest, whose tokens are counted: where they are too long, all are
NEAR = 16  # tokens by which a count may be wrong
LOOKED_AT = 50  # prepared rows for which the row of a file is searched
HEAD = 20  # letters by which an answer is recognised
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
        self.bounds = Bounds(self.tokenizer, opening(encoder), set(plan.ends), plan.pair)
        self.wanted = read_wanted(plan.sources, encoder)
        self.seen: set[bytes] = set()  # keys of prepared rows that a file has
        self.found = Compared(len(prepared))

    def run(self) -> Compared:
        """Compare: first by what settles nearly all rows, then by what few rows need."""
        left = self._by_key()
        left = self._by_rendered_text(left)
        left = self._not_cut_off(left)
        left = self._not_rewritten(left)
        missing = self._missing()
        # Any of the prepared rows that are left may be one of those that cannot be recognised.
        unclear = len(self.wanted.unclear) + sum(map(len, self.wanted.by_text.values()))
        differ = max(len(missing), 0 if self.plan.others else len(left) - unclear)
        named = self._named(list(left), missing) if differ else []
        if named:
            self.found.differ += differ
            self.found.first += named
        if (unknown := len(left) - (differ if named else 0)) > 0:
            self.found.not_compared[self.plan.others or UNCLEAR] += unknown
        self.found.first = self.found.first[:SHOWN]
        return self.found

    def _by_key(self) -> dict[int, bytes | None]:
        """Return number and key of the prepared rows whose supervised text no row of a file has."""
        keys = Keys(self.tokenizer, self.bounds, self.plan.every_end)
        left: dict[int, bytes | None] = {}
        number = 0
        for chunk in self.prepared.chunks():
            for key in keys.of(chunk):
                if key is None or self.wanted.take(key) is None:
                    left[number] = key
                elif self.plan.once:
                    self.seen.add(key)
                number += 1
        return left

    def _by_rendered_text(self, left: dict[int, bytes | None]) -> dict[int, bytes | None]:
        """Compare rows with tool calls, which are recognised by all of their text."""
        if not self.wanted.by_text:
            return left
        rest: dict[int, bytes | None] = {}
        for number, key in left.items():
            ids, labels = self.prepared.row(number)
            place = self.wanted.take_text(decoded(self.tokenizer, [ids])[0])
            if place is None:
                rest[number] = key
            elif fault := self._fault(self.wanted.with_calls[place], ids, labels):
                self.found.differ += 1
                self.found.first.append(self._difference(place, fault))
        return rest

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
        for number, row in self._rows(numbers):
            texts = [turn["content"] for turn in learned_turns(row)]
            ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
            key = key_of(decoded(self.tokenizer, ids))
            if all_of_them or key != key_of(texts):
                found[number] = key
        return found

    def _without_thought(self, number: int) -> bytes:
        runs = learned(*self.prepared.row(number))
        bodies = [run[: self.bounds.look(self.bounds.opened, run, [])[0]] for run in runs]
        texts = decoded(self.tokenizer, bodies)
        return key_of([plain_text(text).removeprefix(EMPTY_THOUGHT) for text in texts])

    def _missing(self) -> list[int]:
        """Return the rows of files that must be trained on and are not."""
        whole = {number for number, source in enumerate(self.plan.sources) if source.whole}
        numbers = [n for n in self.wanted.left(self.seen) if self.wanted.places[n].source in whole]
        if self.plan.longest is None or not numbers:
            return numbers
        rows = dict(self._rows(numbers))
        numbers.sort(key=lambda number: _letters(rows[number]))
        short = [n for n in numbers[:COUNTED] if self._is_short(rows[n])]
        short += [n for n in numbers[COUNTED:] if short and self._is_short(rows[n])]
        self.found.left_out = 0 if self.plan.cuts else len(numbers) - len(short)
        return sorted(short)

    def _is_short(self, row: RenderedRow) -> bool:
        """Return whether a row is certainly not left out or cut off for its length."""
        assert self.plan.longest is not None
        messages, tools = row["messages"], row.get("tools")
        try:
            texts = [self.encoder.text(messages, tools)]
            if "rejected" in row:
                texts.append(self.encoder.text([*messages[:-1], *row["rejected"]], tools))
        except (TemplateError, ValueError, TypeError, KeyError):
            return False
        sizes = [len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        return max(sizes) <= self.plan.longest - NEAR

    def _rows(self, numbers: Collection[int]) -> Iterator[tuple[int, RenderedRow]]:
        """Yield number and row of the given rows, in their order, read from the files again."""
        chosen, number = set(numbers), -1
        for source in self.plan.sources if chosen else []:
            for _, row in source.rows():
                number += 1
                if number in chosen:
                    yield number, row

    def _fault(self, row: RenderedRow, ids: list[int], labels: list[int]) -> str:
        """Return what is wrong with the labels of a row, "" for nothing."""
        if any(label not in (IGNORED, id) for id, label in zip(ids, labels, strict=True)):
            return "other tokens than its own are trained on."
        turns = learned_turns(row)
        faults = turn_faults(self.tokenizer, turns, ids, labels)
        if faults:
            return faults[0]
        at = 0
        for number, turn in enumerate(turns, 1):
            start = next(place for place in range(at, len(labels)) if labels[place] != IGNORED)
            at = next((n for n in range(start, len(labels)) if labels[n] == IGNORED), len(labels))
            before = ids[max(0, start - self.bounds.width) : start]
            bound = self.bounds.look(before, ids[start:at], ids[at : at + BEHIND])[1]
            last = number == len(turns)
            accepted = {Bound.FINE}
            if not last or turn is not row["messages"][-1] and "rejected" not in row:
                accepted.add(Bound.OPEN)
            if not (last or self.plan.every_end):
                accepted.add(Bound.UNLEARNED)
            if bound not in accepted:
                return f"assistant turn {number}: {bound.value}"
        return ""

    def _named(self, left: list[int], missing: list[int]) -> list[Difference]:
        """Return some of the rows that differ, in the order of the files; none if those that were recognised
        do not."""
        found = self._recognised(left[:LOOKED_AT])
        faults = {place: fault for place, fault in found.items() if fault}
        if not faults and not found:
            faults = dict.fromkeys(missing[:SHOWN], "it is short enough, but not trained on.")
        named = [self._difference(place, faults[place]) for place in sorted(faults)]
        if not named and not found and left:
            text = decoded(self.tokenizer, [self.prepared.row(left[0])[0]])[0]
            text = f"a row is trained on that is in none of the files: {text[:60]!r}."
            named.append(Difference(file="", line=0, id="", text=text))
        return named

    def _recognised(self, left: list[int]) -> dict[int, str]:
        """Return rows of the files that are among the prepared rows `left` by their prompts, with what is
        wrong with their labels; as many as are shown."""
        rows = {number: self.prepared.row(number) for number in left}
        texts = {n: plain_text(decoded(self.tokenizer, [ids])[0]) for n, (ids, _) in rows.items()}
        found: dict[int, str] = {}
        for place, row in self._rows(self.wanted.left()):
            turns = learned_turns(row)
            prompts = [plain_text(turn["content"]) for turn in row["messages"] if turn not in turns]
            heads = [plain_text(turn["content"])[:HEAD] for turn in turns]
            same = [n for n, text in texts.items() if all(prompt in text for prompt in prompts)]
            same.sort(key=lambda n: not all(head in texts[n] for head in heads))
            if same:
                del texts[same[0]]
                found[place] = self._fault(row, *rows[same[0]])
            if sum(map(bool, found.values())) == SHOWN:
                break
        return found

    def _difference(self, place: int, text: str) -> Difference:
        source, line, id = self.wanted.places[place]
        return Difference(file=show(self.plan.sources[source].path), line=line, id=id, text=text)


def _letters(row: RenderedRow) -> int:
    return sum(len(turn["content"]) for turn in row["messages"] if isinstance(turn["content"], str))
