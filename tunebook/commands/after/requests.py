"""The requests accepted by `tunebook serve`: the supported part of OpenAI's chat completions, and how others
are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from tunebook.core.files import Row

IGNORED = {"user", "metadata", "store", "service_tier"}  # these do not change the answer


class StreamOptions(BaseModel):
    """How a streamed answer ends: `include_usage` adds the token counts."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The supported fields of OpenAI's chat completions."""

    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int = 1
    stop: str | list[str] | None = None
    seed: int | None = None
    stream_options: StreamOptions = StreamOptions()


class Classify(BaseModel):
    """The inputs to label: rows with the fields of the dataset, or texts if its prompt has only one field."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    input: str | Row | list[str | Row]


class Until:
    """Passes an answer on up to the first of `stops`, which is removed, and records whether one was found."""

    def __init__(self, stops: list[str], show: Callable[[str], None]) -> None:
        self.stops, self.show = [stop for stop in stops if stop], show
        self.held, self.reached = "", False

    def take(self, piece: str) -> None:
        """Process the next piece; a possible start of a stop sequence is held back."""
        if self.reached:
            return
        self.held += piece
        places = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if places:
            self.held, self.reached = self.held[: min(places)], True
            return
        keep = max((len(stop) for stop in self.stops), default=1) - 1
        ready = self.held[: max(0, len(self.held) - keep)]
        self.held = self.held[len(ready) :]
        if ready:
            self.show(ready)

    def finish(self) -> None:
        """Pass on the text held back."""
        if self.held:
            self.show(self.held)


class Refused(Exception):
    """A request that cannot be answered, as an error in OpenAI's format."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def plain(turn: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its text parts joined, as chat templates expect it.

    Raises:
        Refused: a part is not text.
    """
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    if other := [part.get("type") for part in content if part.get("type") != "text"]:
        raise Refused(400, "unsupported_content", f"this model only reads text (got {other[0]!r}).")
    return {**turn, "content": "".join(part["text"] for part in content)}
