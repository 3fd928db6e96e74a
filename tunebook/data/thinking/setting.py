"""`thinking` of recipe.yaml: whether reasoning is learned, only shown, or left out.

`keep` learns an assistant's reasoning and its answer, `mask` shows the reasoning and learns the answer, `off`
leaves the reasoning out. Without the key, rows have no reasoning and answers are scored as they are.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from tunebook.core.files import AxolotlConfig

Thinking = Literal["off", "keep", "mask"]
KEY = "thinking"
PLUGIN = "tunebook.plugins.Thinking"
SHOWN = ("keep", "mask")
SWITCH = "enable_thinking"  # the argument by which chat templates open a think block


def read(value: object) -> Thinking | None:
    """Return a value of `thinking`; YAML reads `off` as false.

    Raises:
        ValueError: it is none of them.
    """
    if value is None:
        return None
    if value is False:
        return "off"
    if value not in get_args(Thinking):
        raise ValueError(f"expected {', '.join(get_args(Thinking))} (got {value!r}).")
    return cast(Thinking, value)


def of(config: AxolotlConfig) -> Thinking | None:
    """Return the setting of a composed config."""
    return read(config.get(KEY))


def switched(config: AxolotlConfig) -> AxolotlConfig:
    """Return `config` with the setting as text, and with the argument that lets the chat template of a hybrid
    model think where the setting shows reasoning.

    Raises:
        ValueError: an unknown value.
    """
    thinking = of(config)
    if thinking is None:
        return config
    made = {**config, KEY: thinking}
    if thinking in SHOWN:
        made["chat_template_kwargs"] = {**(config.get("chat_template_kwargs") or {}), SWITCH: True}
    return made
