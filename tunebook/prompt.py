"""The prompt contract: what is trained on and what is evaluated are the same token ids.

For the last turn of a row, the prompt's ids are an exact prefix of the row's training ids, the first
supervised label stands right there, and the supervised stretch is the answer plus the turn end at which
generation stops. tests/test_prompt.py holds this against Axolotl's own tokenisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunebook.errors import InputError

Messages = list[dict[str, Any]]  # role and content; `weight` 0 or 1 where a turn of a row has one


@dataclass(frozen=True)
class Encoded:
    """Token ids of one row: `context` ends where the model begins to write; `answer` is the text of
    the last turn; `end` the token that ends it."""

    context: list[int]
    answer: list[int]
    end: int


class PromptEncoder:
    """Renders messages with the model's chat template, exactly as Axolotl trains them."""

    def __init__(self, tokenizer: Any, template_kwargs: dict[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.template_kwargs = template_kwargs or {}

    def context(self, messages: Messages) -> list[int]:
        """Return the ids of `messages` followed by the opening of an assistant turn."""
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self.template_kwargs
        )
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode(self, messages: Messages) -> Encoded:
        """Encode a row whose last message is the answer.

        Raises:
            InputError: the template breaks the contract, for example by rewriting the prompt.
        """
        context = self.context(messages[:-1])
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, **self.template_kwargs)
        full = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        if full[: len(context)] != context:
            raise InputError("The chat template's generation prompt is not a prefix of the full row.")
        rest = full[len(context) :]
        if end not in rest:
            raise InputError(f"The chat template does not end a turn with {self.tokenizer.eos_token!r}.")
        # The first one: Phi-4-mini's template writes its turn end and then eos once more.
        return Encoded(context, rest[: rest.index(end)], end)


def with_arguments(template: str, arguments: dict[str, Any] | None) -> str:
    """Return a chat template that has `arguments` by itself, for callers that pass none."""
    given = "".join(f"{{% set {name} = {value!r} %}}" for name, value in (arguments or {}).items())
    return given + template


def with_system(messages: Messages, system: str | None) -> Messages:
    """Return `messages` with its system turn replaced by `system` (None: left as it is)."""
    if system is None:
        return messages
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def with_shots(messages: Messages, shots: list[Messages]) -> Messages:
    """Return `messages` with whole conversations put in front as earlier turns."""
    head = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    before = [turn for shot in shots for turn in shot if turn["role"] != "system"]
    return [*head, *before, *rest]
