"""The prompt contract: training and evaluation use the same token ids.

In: messages and a tokenizer. Out: token ids of the prompt and of its answer. For the last turn of a row, the
prompt's ids are an exact prefix of the row's training ids, the first supervised label comes right after them,
and the supervised span is the answer plus the end-of-turn token at which generation stops.
tests/data/test_prompt.py compares this with Axolotl's own tokenization.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tunebook.core.errors import InputError
from tunebook.data.tool_calls import for_template
from tunebook.runs.rows import Messages


@dataclass(frozen=True)
class Encoded:
    """Token ids of one row: the prompt (`context`), the last turn (`answer`), and its end-of-turn token
    (`end`)."""

    context: list[int]
    answer: list[int]
    end: int


@dataclass(frozen=True)
class Pass:
    """A forward pass that scores several turns: token ids of a prompt (`context`) and of all that follows it
    (`rest`), and the position of each turn's answer in `rest` (`spans`: start and end)."""

    context: list[int]
    rest: list[int]
    spans: list[tuple[int, int]]


class PromptEncoder:
    """Renders messages with the model's chat template, exactly as Axolotl does for training."""

    def __init__(self, tokenizer: Any, template_kwargs: dict[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.template_kwargs = template_kwargs or {}

    def text(self, messages: Messages, tools: str | None = None, opened: bool = False) -> str:
        """Return the rendered text of `messages` and `tools` (JSON text); with `opened`, plus the generation
        prompt of an assistant turn."""
        return self.tokenizer.apply_chat_template(
            for_template(messages),
            tools=json.loads(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=opened,
            **self.template_kwargs,
        )

    def context(self, messages: Messages, tools: str | None = None) -> list[int]:
        """Return the ids of `messages` plus the generation prompt of an assistant turn."""
        text = self.text(messages, tools, opened=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode(self, messages: Messages, tools: str | None = None) -> Encoded:
        """Encode a row whose last message is the answer.

        Raises:
            InputError: the template breaks the contract, for example because it rewrites the prompt.
        """
        context = self.context(messages[:-1], tools)
        full = self.tokenizer(self.text(messages, tools), add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        if full[: len(context)] != context:
            text = "The chat template's generation prompt is not a prefix of the full row."
            raise InputError(text, code="model.prompt_not_prefix")
        rest = full[len(context) :]
        if end not in rest:
            text = f"The chat template does not end a turn with {self.tokenizer.eos_token!r}."
            raise InputError(text, code="model.no_turn_end")
        # The first of them: Phi-4-mini's template writes its end-of-turn token and then eos.
        return Encoded(context, rest[: rest.index(end)], end)

    def passes(self, messages: Messages, places: list[int], tools: str | None = None) -> list[Pass]:
        """Encode the turns at `places` (in order) of one conversation, each after its own prompt.

        One pass covers all turns if every earlier turn occurs unchanged in the later prompts: attention is
        causal, so its tokens have the same probabilities as in a separate pass. Some templates rewrite
        earlier turns (Qwen3 removes their reasoning); then each turn gets its own pass.

        Raises:
            InputError: as `encode`.
        """
        each = [self.encode(messages[: place + 1], tools) for place in places]
        whole = [*each[-1].context, *each[-1].answer]
        start = len(each[0].context)
        if all(_begins(whole, [*one.context, *one.answer, one.end]) for one in each[:-1]):
            spans = [(len(one.context) - start, len(one.context) - start + len(one.answer)) for one in each]
            return [Pass(each[0].context, whole[start:], spans)]
        return [Pass(one.context, one.answer, [(0, len(one.answer))]) for one in each]


def _begins(whole: list[int], start: list[int]) -> bool:
    return whole[: len(start)] == start


def with_arguments(template: str, arguments: dict[str, Any] | None) -> str:
    """Return a chat template with `arguments` built in, for callers that pass none."""
    given = "".join(f"{{% set {name} = {value!r} %}}" for name, value in (arguments or {}).items())
    return given + template


def with_system(messages: Messages, system: str | None) -> Messages:
    """Return `messages` with its system turn replaced by `system` (None: unchanged)."""
    if system is None:
        return messages
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def with_shots(messages: Messages, shots: list[Messages]) -> Messages:
    """Return `messages` with few-shot conversations inserted as earlier turns."""
    head = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    before = [turn for shot in shots for turn in shot if turn["role"] != "system"]
    return [*head, *before, *rest]
