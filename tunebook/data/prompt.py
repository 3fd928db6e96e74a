"""The prompt contract: training and evaluation use the same token ids.

In: messages and a tokenizer. Out: token ids of the prompt and of its answer. For the last turn of a row, the
prompt's ids are an exact prefix of the row's training ids, the first supervised label comes right after them,
and the supervised span is the answer plus the end-of-turn token at which generation stops.
tests/data/test_prompt.py compares this with Axolotl's own tokenization.

With `thinking: keep`, the answer begins with its reasoning. With `mask`, the reasoning belongs to the prompt,
and so does an empty think block that a template writes before an answer without reasoning.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig
from tunebook.data.stretches import IGNORED
from tunebook.data.thinking import setting
from tunebook.data.thinking.answers import plain
from tunebook.data.thinking.form import USUAL, Form, Said, form_of
from tunebook.data.thinking.setting import SHOWN, Thinking
from tunebook.data.tool_calls import for_template, written
from tunebook.runs.rows import Messages, Turn

HERE = "[[answer]]"  # stands for an answer, to find where it begins


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

    def __init__(
        self,
        tokenizer: Any,
        template_kwargs: dict[str, Any] | None = None,
        thinking: Thinking | None = None,
    ) -> None:
        """
        Args:
            template_kwargs: arguments of the chat template.
            thinking: what becomes of reasoning (tunebook/data/thinking/setting.py).
        """
        self.tokenizer = tokenizer
        self.template_kwargs = template_kwargs or {}
        self.thinking = thinking

    @classmethod
    def of(cls, tokenizer: Any, config: AxolotlConfig) -> PromptEncoder:
        """Return the encoder of a composed config."""
        return cls(tokenizer, config.get("chat_template_kwargs"), setting.of(config))

    @property
    def shows_reasoning(self) -> bool:
        """Whether reasoning is part of rows and of generated text."""
        return self.thinking in SHOWN

    @cached_property
    def form(self) -> Form:
        """How the template writes reasoning.

        Raises:
            InputError: it does not, but `thinking` shows reasoning.
        """
        found = self._found
        if found is None and self.shows_reasoning:
            text = f"thinking: {self.thinking} needs a chat template that writes `reasoning_content` between "
            text += "the prompt and the answer, and that of this base model does not. Use a base model that "
            raise InputError(f"{text}thinks, or set `thinking: off`.", code="template.no_thinking")
        return found or USUAL

    @cached_property
    def _found(self) -> Form | None:
        return form_of(lambda messages, opened: self.text(messages, opened=opened))

    @property
    def learned_form(self) -> Form | None:
        """How the template writes reasoning, if that is learned."""
        return self.form if self.thinking == "keep" else None

    def text(self, messages: Messages, tools: str | None = None, opened: bool = False) -> str:
        """Return the rendered text of `messages` and `tools` (JSON text); with `opened`, plus the generation
        prompt of an assistant turn."""
        return self.tokenizer.apply_chat_template(
            for_template(plain(messages) if self.thinking == "off" else messages),
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
        text, end = self.text(messages, tools), self.tokenizer.eos_token_id
        full = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        learned = self.thinking == "keep" and messages[-1].get("reasoning_content")
        if learned or not self.shows_reasoning:
            context = self.context(messages[:-1], tools)
        else:
            context = self._up_to(text, self._before_answer(messages, tools))
        if full[: len(context)] != context:
            text = "The chat template's generation prompt is not a prefix of the full row."
            raise InputError(text, code="model.prompt_not_prefix")
        rest = full[len(context) :]
        if end not in rest:
            text = f"The chat template does not end a turn with {self.tokenizer.eos_token!r}."
            raise InputError(text, code="model.no_turn_end")
        # The first of them: Phi-4-mini's template writes its end-of-turn token and then eos.
        return Encoded(context, rest[: rest.index(end)], end)

    def _before_answer(self, messages: Messages, tools: str | None) -> str:
        """Return the rendered text before the content of the last turn, with the turn's reasoning."""
        marked: Turn = {**messages[-1], "content": HERE}
        return self.text([*messages[:-1], marked], tools).partition(HERE)[0]

    def _up_to(self, text: str, before: str) -> list[int]:
        """Return the ids of `text` that end with or before its beginning `before`. In the middle of a text a
        tokenizer may cut blanks differently than at its end."""
        if not getattr(self.tokenizer, "is_fast", False):
            return list(self.tokenizer(before, add_special_tokens=False)["input_ids"])
        if not text.startswith(before):
            return [-1]  # is the beginning of no text
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in made["offset_mapping"]]
        return list(made["input_ids"][: bisect_right(ends, len(before))])

    def direct(self, messages: Messages, tools: str | None = None) -> list[int]:
        """Return the ids of a prompt that an answer follows without reasoning: with `thinking`, behind the
        empty think block that the template writes there, if any."""
        if not self.shows_reasoning:
            return self.context(messages, tools)
        text = self._before_answer([*messages, Turn(role="assistant", content=HERE)], tools)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def thinking_on(self) -> PromptEncoder | None:
        """Return the encoder of prompts that let the model think; None if its template has no reasoning."""
        made = PromptEncoder(self.tokenizer, {**self.template_kwargs, setting.SWITCH: True}, "keep")
        return made if made._found else None

    def said(self, tokens: list[int]) -> Said:
        """Return generated tokens as text: reasoning and answer. Without `thinking`, all is the answer."""
        if self.thinking is None:
            return Said("", str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip(), False)
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=False))  # a mark may be special
        thought, answer, unfinished = self.form.said(text)
        for token in getattr(self.tokenizer, "all_special_tokens", ()):  # a GGUF file's has none
            thought, answer = thought.replace(token, ""), answer.replace(token, "")
        return Said(thought.strip(), answer.strip(), unfinished)

    def as_said(self, messages: Messages) -> Messages:
        """Return a conversation whose answers may have their reasoning in the text, as a client sends it
        back, with the reasoning in its own field, so that the template decides what becomes of it."""
        if not self.shows_reasoning:
            return messages
        made = Messages()
        for turn in messages:
            if turn["role"] == "assistant" and self.form.closing in turn["content"]:
                thought, answer, _ = self.form.said(turn["content"])
                turn = {**turn, "content": answer, "reasoning_content": thought}
            made.append(turn)
        return made

    def learned_text(self, turn: Turn) -> str:
        """Return the text of a turn that is scored: with its reasoning, if that is learned."""
        thought = turn.get("reasoning_content") if self.thinking == "keep" else None
        return "\n".join(filter(None, (thought, written(turn))))

    def relabelled(
        self, messages: Messages, ids: list[int], labels: list[int], tools: str | None = None
    ) -> list[int]:
        """Return the labels of a whole row with those of each trained answer with reasoning as `encode` says.
        Axolotl takes the text with which the template opens a think block for a part of the prompt.

        Args:
            ids, labels: as Axolotl made them.
        """
        made = list(labels)
        for place, turn in enumerate(messages if self.shows_reasoning else []):
            if turn["role"] != "assistant" or turn.get("weight") == 0 or not turn.get("reasoning_content"):
                continue
            encoded = self.encode(messages[: place + 1], tools)
            whole = [*encoded.context, *encoded.answer, encoded.end]
            if _begins(ids, whole):  # otherwise the row shows this turn without its reasoning
                start = len(self.context(messages[:place], tools))
                made[start : len(whole)] = [IGNORED] * (len(whole) - start)
                made[len(encoded.context) : len(whole)] = whole[len(encoded.context) :]
        return made

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
