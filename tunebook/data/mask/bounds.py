"""Where a supervised stretch begins and ends: behind the template's opening of an assistant turn, and with
the end-of-turn token."""

from __future__ import annotations

from enum import Enum
from typing import Any

from jinja2 import TemplateError

from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import plain_text, special_ids
from tunebook.data.thinking.form import Form
from tunebook.runs.rows import Messages

WIDEST = 16  # tokens of the opening that are compared
BEHIND = 3  # tokens behind a turn among which Axolotl looks for its end-of-turn token
ANSWER = "Yes"
EMPTY_THOUGHT = "<think></think>"  # a template may write it before an answer, learned or not


class Bound(Enum):
    """What is found at the ends of a stretch; the values of faults are what is wrong."""

    FINE = ""
    OPEN = "it has no end-of-turn token, so answers would never end."
    UNLEARNED = "its end-of-turn token is not trained on, so answers would never end."
    EARLY = "tokens that open the turn are trained on before its text."
    LATE = "tokens behind its end-of-turn token are trained on."


def openings(encoder: PromptEncoder) -> list[list[int]]:
    """Return the tokens that open an assistant turn, at most WIDEST: the last turn of a conversation, and an
    earlier one; [] if the template does not say."""
    ask: Messages = [{"role": "user", "content": "a"}]
    try:
        before, opened = encoder.text(ask), encoder.text(ask, opened=True)
        whole = encoder.text([*ask, {"role": "assistant", "content": ANSWER}, *ask])
    except (TemplateError, ValueError):
        return []
    earlier, found, _ = whole.partition(ANSWER)

    def ids(text: str) -> list[int]:
        return list(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])

    start, result = ids(before), list[list[int]]()
    for text, in_whole in ((opened, opened), (earlier, whole if found else "")):
        opening = ids(text)
        # Otherwise a token of the answer begins before it.
        if opening[: len(start)] == start and ids(in_whole)[: len(opening)] == opening:
            result.append(opening[len(start) :][-WIDEST:])
    return [one for one in result if one]


class Bounds:
    """Looks at the ends of stretches.

    Args:
        opened: tokens that open an assistant turn (`openings`).
        ends: the end-of-turn tokens.
        pair: the stretches are answers of preference pairs, which include all that the template writes
            behind an answer.
        form: how the template writes reasoning, if it is learned.
        exact: an empty think block must not be learned.
    """

    def __init__(
        self,
        tokenizer: Any,
        opened: list[list[int]],
        ends: set[int],
        pair: bool = False,
        form: Form | None = None,
        exact: bool = False,
    ) -> None:
        self.tokenizer, self.opened, self.ends, self.pair = tokenizer, opened, ends, pair
        self.form, self.exact = form, exact
        self.width = max(map(len, opened), default=0)
        self.special = special_ids(tokenizer)
        self.blank: dict[int, bool] = {}
        # how many tokens of an opening are surely not text, if a stretch begins with them
        self.sizes = [
            [size for size in range(1, len(one) + 1) if self._is_no_thought(one[-size:])] for one in opened
        ]

    def _is_no_thought(self, ids: list[int]) -> bool:
        text = plain_text(self.tokenizer.decode(ids))
        return not text or not EMPTY_THOUGHT.endswith(text)

    def look(self, before: list[int], run: list[int], after: list[int]) -> tuple[int, Bound]:
        """Return how many tokens of a stretch are its text, and what is found at its ends.

        Args:
            before: the `width` tokens before it, fewer at the start of a row.
            after: the BEHIND tokens behind it, fewer at the end of a row.
        """
        size = len(run)
        while size and (run[size - 1] in self.special or self._is_blank(run[size - 1])):
            size -= 1
        if self._begins_early(before, run):
            return size, Bound.EARLY
        tail = run[size:]
        first = next((place for place, id in enumerate(tail) if id in self.ends), None)
        if first is None:
            return size, Bound.UNLEARNED if self.ends & {*after[:BEHIND]} else Bound.OPEN
        allowed = self.special if self.pair else self.ends
        return size, Bound.FINE if all(id in allowed for id in tail[first:]) else Bound.LATE

    def _is_blank(self, id: int) -> bool:
        if id not in self.blank:
            self.blank[id] = not self.tokenizer.decode([id]).strip()
        return self.blank[id]

    def _begins_early(self, before: list[int], run: list[int]) -> bool:
        """Return whether the opening of the turn ends inside the stretch."""
        if any(before[-len(one) :] == one for one in self.opened):
            return False
        for one, sizes in zip(self.opened, self.sizes, strict=True):
            for size in sizes:
                outside = one[:-size]
                if run[:size] == one[-size:] and before[len(before) - len(outside) :] == outside:
                    return True
        return False
