"""How a chat template writes reasoning, and the parts of an answer: its reasoning and its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tunebook.runs.rows import Messages, Turn

QUESTION, THOUGHT, ANSWER = "QuEs7x", "ThOu8x", "AnSw9x"  # letters of no language
Render = Callable[[Messages, bool], str]


@dataclass(frozen=True)
class Form:
    """What a template writes around the reasoning of a turn.

    Args:
        open: between the generation prompt and the reasoning; "" if the prompt already opens the block.
        close: between the reasoning and the answer.
    """

    open: str
    close: str

    @property
    def opening(self) -> str:
        """The mark that opens a think block."""
        return self.open.strip() or USUAL.open.strip()

    @property
    def closing(self) -> str:
        """The mark that closes a think block."""
        return self.close.strip()

    def learned(self, turn: Turn) -> str:
        """Return the text of a turn with its reasoning as the template writes it, up to whitespace."""
        thought = turn.get("reasoning_content")
        return f"{self.open}{thought}{self.close}{turn['content']}" if thought else turn["content"]

    def said(self, text: str) -> Said:
        """Return the parts of a generated text."""
        before, closed, after = text.partition(self.closing)
        if closed:
            thought = before.partition(self.opening)[2] if self.opening in before else before
            return Said(thought.strip(), after.strip(), False)
        begun = text.lstrip().removeprefix(self.opening)
        if begun != text.lstrip() or not self.open:  # otherwise the model has answered at once
            return Said(begun.strip(), "", True)
        return Said("", text.strip(), False)


class Said(NamedTuple):
    """A generated text: its reasoning, its answer, and whether it ends inside the reasoning, so that there is
    no answer."""

    thought: str
    answer: str
    unfinished: bool


class Apart:
    """Tells apart the reasoning and the answer of a text that comes in pieces."""

    def __init__(self, form: Form) -> None:
        self.form, self.held, self.begun = form, "", False  # whether the answer has begun
        self.part: Literal["", "reasoning_content", "content"] = "" if form.open else "reasoning_content"

    def take(self, piece: str) -> Iterator[tuple[str, str]]:
        """Yield the parts of the text that are certain now: `reasoning_content` or `content`, and the text; a
        possible mark is held back."""
        self.held += piece
        if not self.part:
            begun = self.held.lstrip()
            if len(begun) < len(self.form.opening) and self.form.opening.startswith(begun):
                return
            self.part = "reasoning_content" if begun.startswith(self.form.opening) else "content"
            self.held = begun.removeprefix(self.form.opening)
        if self.part == "reasoning_content":
            before, closed, after = self.held.partition(self.form.closing)
            keep = 0 if closed else len(self.form.closing) - 1
            ready = before[: len(before) - keep] if keep < len(before) else before * bool(closed)
            self.held = after if closed else self.held[len(ready) :]
            if ready:
                yield self.part, ready
            if not closed:
                return
            self.part = "content"
        ready = self.held if self.begun else self.held.lstrip()
        self.held, self.begun = "", self.begun or bool(ready)
        if ready:
            yield self.part, ready

    def finish(self) -> Iterator[tuple[str, str]]:
        """Yield what was held back."""
        if self.held:
            yield self.part or "content", self.held


USUAL = Form("<think>\n", "\n</think>\n\n")


def form_of(render: Render) -> Form | None:
    """Return how a template writes reasoning, or None if it does not, or opens the prompt otherwise.

    Args:
        render: renders messages, with the generation prompt of an assistant turn if the second argument is
            true; the template's switch for thinking must be on.
    """
    ask = Turn(role="user", content=QUESTION)
    prompt = render([ask], True)
    whole = render([ask, Turn(role="assistant", content=ANSWER, reasoning_content=THOUGHT)], False)
    before, thought, rest = whole.partition(THOUGHT)
    close, answer, _ = rest.partition(ANSWER)
    if not (thought and answer and close.strip() and before.startswith(prompt)):
        return None
    return Form(before[len(prompt) :], close)
