"""Render a chat template as transformers does, to find out what it does with a conversation.

This is the same sandboxed Jinja as `apply_chat_template`, but without importing transformers, and with a
given date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols

from tunebook.core.files import AxolotlConfig
from tunebook.models.sandbox import ImmutableSandbox, bounded

Messages = list[dict[str, str]]
DAYS = (datetime(2024, 2, 3, 4, 5), datetime(2031, 11, 12, 17, 18))
SYSTEM, USER, ANSWER, THOUGHT = "SysTem7Q", "UsEr8Q", "AnsWer9Q", "ThouGht6Q"
MORE_USER, MORE_ANSWER = "UsEr5Q", "AnsWer4Q"


class _Generation(Extension):
    """`{% generation %}`, with which transformers marks the assistant's text; it prints its content."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """Template `text`; `names` are the other variables it may read: tokens by name, and
    chat_template_kwargs."""

    def __init__(self, text: str, names: dict[str, Any]) -> None:
        """
        Raises:
            TemplateError: it is not valid Jinja.
        """
        self._now = DAYS[0]
        environment = ImmutableSandbox(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda pattern: self._now.strftime(pattern)
        self._template, self._names = bounded(environment.from_string, text), names

    def render(self, messages: Messages, opened: bool = False, day: datetime = DAYS[0]) -> str:
        """Return `messages` rendered on `day`; with `opened`, including the generation prompt of an assistant
        turn.

        Raises:
            TemplateError: the template rejects them.
        """
        self._now = day
        return bounded(
            self._template.render,
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=opened,
            **self._names,
        )

    def render_turns(self, messages: Sequence[Mapping[str, Any]], opened: bool) -> str:
        """Return rendered turns, which may have more fields than a role and a content, as `render` does."""
        return self.render([dict(turn) for turn in messages], opened)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _refuse(text: str) -> None:
    raise TemplateError(text)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


PLAIN = [turn("user", USER), turn("assistant", ANSWER)]
WITH_SYSTEM = [turn("system", SYSTEM), *PLAIN]
LONGER = [*PLAIN, turn("user", MORE_USER), turn("assistant", MORE_ANSWER)]


def traits(template: ChatTemplate, end: str | None) -> dict[str, str]:
    """Return the faults and peculiarities of a template by name, each with an explanation.

    `broken`, `depends_on_day` and `drops_text` hide the others. `end` is the token at which generation stops,
    or None if it is not known.
    """
    try:
        plain = template.render(PLAIN)
        prompt = template.render(PLAIN[:1], opened=True)
    except TemplateError as error:
        return {"broken": str(error)}
    found = {}
    if plain != template.render(PLAIN, day=DAYS[1]) or prompt != template.render(PLAIN[:1], True, DAYS[1]):
        found["depends_on_day"] = "it writes the date into every prompt"
    elif plain != template.render(PLAIN):
        found["depends_on_day"] = "it renders differently each time"
    lost = [name for name, text in (("question", USER), ("answer", ANSWER)) if text not in plain]
    if lost:
        found["drops_text"] = f"the rendered text lacks the {' and the '.join(lost)}"
    if found:
        return found  # the other checks compare texts
    if not plain.startswith(prompt):
        found["prompt_differs"] = (
            f"the generation prompt ends in {prompt[-40:]!r}, but in training the answer follows "
        )
        found["prompt_differs"] += repr(plain[: plain.index(ANSWER)][-40:])
    elif end and end not in plain[plain.index(ANSWER) :]:
        found["no_turn_end"] = f"{end!r} does not follow an answer"
    found |= _systems(template, plain)
    found |= _longer(template, plain)
    return found


def _systems(template: ChatTemplate, plain: str) -> dict[str, str]:
    """Return how the template handles system turns, and whether it adds a default system prompt."""
    before = plain.partition(USER)[0]
    found = {}
    try:
        text = template.render(WITH_SYSTEM)
    except TemplateError as error:
        found["no_system"] = str(error)
    else:
        if SYSTEM not in text:
            found["no_system"] = "it omits system turns"
    if len(_words(before)) > 3:
        found["default_system"] = repr(" ".join(before.split())[:100])
    return found


def _longer(template: ChatTemplate, plain: str) -> dict[str, str]:
    found = {}
    thinking = [PLAIN[0], turn("assistant", f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}")]
    try:
        if THOUGHT not in template.render(thinking):
            found["strips_thoughts"] = "the text between <think> and </think> is removed from an answer"
    except TemplateError:
        pass
    try:
        longer = template.render(LONGER)
    except TemplateError as error:
        found["one_turn_only"] = str(error)
        return found
    if not longer.startswith(plain.partition(ANSWER)[0] + ANSWER):
        found["rewrites_turns"] = "an earlier answer is rendered differently once a later turn follows"
    return found


def _words(text: str) -> list[str]:
    """Return the words of plain text, without special tokens and role names."""
    for opened, closed in (("<", ">"), ("[", "]")):
        while opened in text and closed in text.partition(opened)[2]:
            before, _, rest = text.partition(opened)
            text = before + " " + rest.partition(closed)[2]
    return [
        word for word in text.split() if word.isascii() and word.strip(".,:;!?'").isalpha() and len(word) > 2
    ]


def find_text(config: AxolotlConfig, files: Callable[[str], str | None]) -> tuple[str, dict[str, Any]] | None:
    """Return the text of the template that a config uses, and the tokens by name; None if it is not on this
    machine. `files` returns the text of one of the model's files, or None."""
    settings_text = files("tokenizer_config.json")
    settings = json.loads(settings_text) if settings_text else {}
    tokens = {
        key: value["content"] if isinstance(value, dict) else value
        for key, value in settings.items()
        if key.endswith("_token") and isinstance(value, str | dict)
    }
    tokens |= {
        key: value for key, value in (config.get("special_tokens") or {}).items() if isinstance(value, str)
    }
    own, name = config.get("chat_template_jinja"), str(config.get("chat_template") or "tokenizer_default")
    if own:
        return str(own), tokens
    if not name.startswith("tokenizer_default"):
        return None  # a built-in template of Axolotl
    inline: Any = files("chat_template.jinja") or settings.get("chat_template")
    if isinstance(inline, list):  # several templates, by name
        inline = next((item["template"] for item in inline if item.get("name") == "default"), None)
    return (inline, tokens) if isinstance(inline, str) else None
