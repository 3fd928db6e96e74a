"""What the rows of files say must be learned, as keys that those of prepared rows are compared with.

In: files of rows as Axolotl reads them. Out: their places by key. Rows with tool calls have no key, because
each template writes calls in its own form: they are found again by their whole rendered text.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from jinja2 import TemplateError

from tunebook.data.mask.prepared import OPEN_END, Texts, is_open
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import supervised
from tunebook.data.thinking.form import Form
from tunebook.runs.rows import Messages, RenderedRow, Turn

ROLES = {"gpt": "assistant", "human": "user"}  # Axolotl's other names of roles
# Fields of a message that a template or Axolotl may put into what is learned, beside the content.
MORE_TEXT = ("reasoning_content", "reasoning", "thinking", "training", "training_detail")


@dataclass(frozen=True)
class Source:
    """A file of rows, an entry of `datasets:`.

    `field` holds the messages and, in preference pairs, `rejected` the other answer. If only a part of the
    rows is trained on (`shards`), `whole` is False.
    """

    path: Path
    field: str = "messages"
    rejected: str | None = None
    whole: bool = True

    def rows(self) -> Iterator[tuple[int, RenderedRow]]:
        """Yield line and row of each row.

        Raises:
            ValueError: a line is not JSON or has no messages.
        """
        with self.path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if text.strip():
                    yield line, self._row(json.loads(text))

    def _row(self, raw: Any) -> RenderedRow:
        messages = raw.get(self.field) if isinstance(raw, dict) else None
        if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
            raise ValueError(f"a row has no list of messages called {self.field!r}")
        row = {**raw, "messages": [_turn(turn) for turn in messages]}
        row.pop("rejected", None)
        if isinstance(raw.get("tools"), list):
            row["tools"] = json.dumps(raw["tools"], ensure_ascii=False)
        if self.rejected:
            other = raw.get(self.rejected)
            if not isinstance(other, list) or not other:
                raise ValueError(f"a row has no list of messages called {self.rejected!r}")
            row["rejected"] = other
        return cast(RenderedRow, row)


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    changed = {"role": ROLES.get(str(turn.get("role")), turn.get("role"))}
    if turn.get("content") is None:
        changed["content"] = ""
    return {**turn, **changed}


class Place(NamedTuple):
    """Where a row is: the number of its source, its line and its id."""

    source: int
    line: int
    id: str


@dataclass
class Wanted:
    """The rows of all sources, by number: their places, their numbers by key, those with calls and their
    numbers by rendered text, and those that cannot be compared."""

    places: list[Place] = field(default_factory=list)
    by_key: defaultdict[bytes, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    with_calls: dict[int, RenderedRow] = field(default_factory=dict)
    by_text: defaultdict[bytes, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    unclear: set[int] = field(default_factory=set)

    def take(self, key: bytes) -> int | None:
        """Return a row with this key and leave it out from now on; None for none."""
        found = _taken(self.by_key, key)
        if found is None and not is_open(key):
            found = _taken(self.by_key, key + OPEN_END)
        return found

    def take_text(self, key: bytes) -> int | None:
        """Return a row with calls whose rendered text has this key, and leave it out from now on."""
        return _taken(self.by_text, key)

    def left(self, seen: Collection[bytes] = ()) -> list[int]:
        """Return the rows that have something to learn and have not been taken, in their order, without those
        whose key is `seen`."""
        rest = [key for key in self.by_key if key not in (b"", OPEN_END) and key not in seen]
        return sorted(number for key in rest for number in self.by_key[key])

    def leave_out(self, numbers: set[int]) -> None:
        """Leave out these rows from now on."""
        for key, some in self.by_key.items():
            self.by_key[key] = deque(number for number in some if number not in numbers)


def _taken(numbers: dict[bytes, deque[int]], key: bytes) -> int | None:
    found = numbers.get(key)
    return found.popleft() if found else None


def content(turn: Turn) -> str:
    """Return the content of a turn if it is a text, otherwise ""."""
    text: Any = turn.get("content")
    return text if isinstance(text, str) else ""


def learned_turns(row: RenderedRow, form: Form | None = None) -> Messages:
    """Return the turns of a row that must be learned; of a preference pair, its two answers.

    Args:
        form: how the template writes reasoning, if it is learned; the turns' content then begins with it.
    """
    if "rejected" in row:
        return [row["messages"][-1], row["rejected"][-1]]
    return supervised(row, last_only=False, form=form)


def read_wanted(sources: list[Source], encoder: PromptEncoder, texts: Texts) -> Wanted:
    """Read the rows of all sources; raises what `Source.rows` raises."""
    wanted, form = Wanted(), encoder.learned_form
    more = [name for name in MORE_TEXT if not encoder.shows_reasoning or name != "reasoning_content"]
    for number, source in enumerate(sources):
        for line, row in source.rows():
            place = len(wanted.places)
            wanted.places.append(Place(number, line, str(row.get("id", ""))))
            turns = learned_turns(row, form)
            if any(turn.get("tool_calls") for turn in turns) and "rejected" not in row:
                wanted.with_calls[place] = row
                try:
                    text = encoder.text(row["messages"], row.get("tools"))
                except (TemplateError, ValueError, TypeError, KeyError):
                    wanted.unclear.add(place)
                else:
                    wanted.by_text[texts.key([text])].append(place)
            elif not all(_is_clear(turn, more) for turn in turns):
                wanted.unclear.add(place)
            else:
                key = texts.key([turn["content"] for turn in turns])
                # The end-of-turn token is certain for the last turn of a row only: Olmo 3 has none before.
                ends = not turns or supervised(row, False)[-1] is row["messages"][-1] or "rejected" in row
                wanted.by_key[key if ends else key + OPEN_END].append(place)
    return wanted


def read_rows(sources: list[Source], numbers: Collection[int]) -> Iterator[tuple[int, RenderedRow]]:
    """Yield number and row of some of the rows of all sources, in their order; raises what `Source.rows`
    raises."""
    chosen, number = set(numbers), -1
    for source in sources if chosen else []:
        for _, row in source.rows():
            number += 1
            if number in chosen:
                yield number, row


def _is_clear(turn: Turn, more: Collection[str]) -> bool:
    """Return whether what is learned of a turn is its content and nothing else; `more` are other fields that
    may be."""
    return bool(content(turn).strip()) and not any(turn.get(name) for name in (*more, "tool_calls"))
