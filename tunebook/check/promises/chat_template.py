"""What the chat template of the base does with conversations: a folder's may be anything."""

from __future__ import annotations

from typing import NamedTuple

from jinja2 import TemplateError

from tunebook.check.findings import Add, Grade
from tunebook.config.resolved import Resolved
from tunebook.models import base_files
from tunebook.models.templates import ChatTemplate, find_text, traits

HELP = "https://huggingface.co/docs/transformers/main/en/chat_templating_writing"
OWN = "Put a corrected template into chat_template_jinja, with chat_template: jinja."


class Said(NamedTuple):
    """The text about a trait of the template, with its value for the first `...`."""

    text: str
    code: str
    grade: Grade = "error"
    do: str = OWN


TRAITS = {  # by their names in tunebook/models/templates.py
    "broken": Said("the chat template fails on a plain conversation: ....", code="template.broken"),
    "depends_on_day": Said(
        "the chat template depends on the day: ..., so that training and a later evaluation differ.",
        code="template.depends_on_day",
        do=f"Pin it: chat_template_kwargs: {{date_string: ...}} where the template reads that. {OWN}",
    ),
    "drops_text": Said("the chat template loses text: ....", code="template.drops_text"),
    "prompt_differs": Said(
        "the chat template renders a prompt for training in another way than for an answer: ....",
        code="template.prompt_differs",
    ),
    "no_turn_end": Said(
        "the chat template does not end turns: ....",
        code="template.no_turn_end",
        do=f"Name the token that does as special_tokens.eos_token. {OWN}",
    ),
    "no_system": Said(
        "the chat template takes no system turn (...): rows and prompts with one fail or lose it.",
        code="template.no_system",
        grade="warning",
        do="Put instructions into the user turn, or correct the template.",
    ),
    "one_turn_only": Said(
        "the chat template refuses a second turn (...): few-shot prompts are not possible.",
        code="template.one_turn_only",
        grade="warning",
    ),
    "default_system": Said(
        "the chat template adds a system prompt of its own where a row has none: ....",
        code="template.default_system",
        grade="note",
        do="Training and evaluation both have it.",
    ),
    "strips_thoughts": Said(
        "the chat template strips thoughts: .... They are not trained.",
        code="template.strips_thoughts",
        grade="note",
        do="Rows without <think> lose nothing.",
    ),
    "rewrites_turns": Said(
        "the chat template rewrites turns: ....",
        code="template.rewrites_turns",
        grade="note",
        do="The last answer of a row is as it is asked.",
    ),
}


def template_rules(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    base, revision = str(config["base_model"]), config.get("revision_of_model")
    try:
        known = find_text(config, lambda name: base_files.text_of(base, name, revision))
    except ValueError:
        return  # its tokenizer_config.json is damaged; whoever loads it says so
    if known is None:
        return
    text, tokens = known
    ends = config.get("eot_tokens") or [tokens.get("eos_token")]
    arguments = config.get("chat_template_kwargs") or {}
    try:
        found = traits(ChatTemplate(text, {**tokens, **arguments}), ends[0] if len(ends) == 1 else None)
    except TemplateError as error:
        found = {"broken": f"{type(error).__name__}: {error}"}
    say(found, resolved, add)


def say(found: dict[str, str], resolved: Resolved, add: Add) -> None:
    """Add what `traits` has found about the template of a config."""
    keys = ("chat_template_jinja", "chat_template", "base_model")
    key = next(key for key in keys if resolved.config.get(key))
    for trait, said in TRAITS.items():
        if why := found.get(trait):
            add(said.grade, key, said.text.replace("...", why, 1), said.do, HELP, code=said.code)


RULES = (template_rules,)
