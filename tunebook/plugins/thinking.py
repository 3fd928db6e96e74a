"""Reasoning in training, as an Axolotl plugin: the labels of answers with reasoning, by the key `thinking`.

Axolotl learns what differs between a turn and the same turn with another content. With reasoning, that is all
from its first word on, so that the text that opens a think block is not learned, and a model that was tuned
on it would have to open one by itself.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from axolotl.integrations.base import BasePlugin
from axolotl.prompt_strategies.chat_template import ChatTemplateStrategy, StrategyLoader
from pydantic import BaseModel

from tunebook.data.prompt import PromptEncoder
from tunebook.data.thinking import setting
from tunebook.data.thinking.setting import SHOWN


class ThinkingArguments(BaseModel):
    """The YAML key of the plugin."""

    thinking: Literal["off", "keep", "mask"] | bool | None = None
    """keep: reasoning is learned; mask: it is shown, and only the answer is learned; off: it is left out.
    YAML reads `off` as false."""


class ThinkingStrategy(ChatTemplateStrategy):
    """Axolotl's rows for chat templates, with the labels of the prompt contract (tunebook/data/prompt.py).

    Raises:
        InputError: the chat template has no reasoning.
    """

    def __init__(self, *args: Any, thinking: setting.Thinking, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        template = {"chat_template": self.prompter.chat_template}
        self.encoder = PromptEncoder(
            self.tokenizer, {**self.prompter.chat_template_kwargs, **template}, thinking
        )
        _ = self.encoder.form  # before any row

    def _tokenize_single_prompt(self, prompt: dict[str, Any]) -> dict[str, list[int]]:
        made = super()._tokenize_single_prompt(prompt)
        tools = prompt.get(self.prompter.field_tools)
        made["labels"] = self.encoder.relabelled(
            self._get_messages(prompt),
            made["input_ids"],
            made["labels"],
            json.dumps(tools) if isinstance(tools, list) else tools,
        )
        return made


class Thinking(BasePlugin):
    """Learn reasoning, or only show it, as `thinking` says: rows of chat templates become those of
    ThinkingStrategy."""

    def get_input_args(self) -> str:
        return "tunebook.plugins.thinking.ThinkingArguments"

    def register(self, cfg: Any) -> None:
        if getattr(StrategyLoader, "with_thinking", False):
            return
        chosen, parameters = StrategyLoader._get_strategy_cls, StrategyLoader._get_strategy_params

        def strategy(self: Any, cfg: Any) -> Any:
            return ThinkingStrategy if _shows(cfg) else chosen(self, cfg)

        def params(self: Any, cfg: Any, entry: dict[str, Any]) -> dict[str, Any]:
            more = {"thinking": setting.of(cfg)} if _shows(cfg) else {}
            return {**parameters(self, cfg, entry), **more}

        StrategyLoader._get_strategy_cls = strategy
        StrategyLoader._get_strategy_params = params
        StrategyLoader.with_thinking = True


def _shows(cfg: Any) -> bool:
    """Return whether reasoning is shown in the rows of a config; a process may load several."""
    return setting.PLUGIN in (cfg.get("plugins") or []) and setting.of(cfg) in SHOWN
