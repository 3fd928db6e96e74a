"""What the chat template of the base model does with conversations. The template of a local folder may be
faulty."""

from __future__ import annotations

from typing import Any, NamedTuple

from jinja2 import TemplateError

from tunebook.check.findings import Add, Grade
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.data.thinking import setting
from tunebook.data.thinking.form import form_of
from tunebook.models import base_files
from tunebook.models.templates import ChatTemplate, find_text, traits

HELP = "https://huggingface.co/docs/transformers/main/en/chat_templating_writing"
OWN = "Put a corrected template into chat_template_jinja and set chat_template: jinja."


class Said(NamedTuple):
    """The finding for a trait of the template; the trait's explanation replaces the first `...`."""

    text: str
    code: str
    grade: Grade = "error"
    do: str = OWN


TRAITS = {  # by name, as in tunebook/models/templates.py
    "broken": Said("the chat template fails on a plain conversation: ....", code="template.broken"),
    "depends_on_day": Said(
        "the chat template depends on the day: ..., so prompts in training and in a later evaluation differ.",
        code="template.depends_on_day",
        do=(
            "Pin the date with chat_template_kwargs: {date_string: ...} if the template supports that. "
            f"{OWN}"
        ),
    ),
    "drops_text": Said("the chat template loses text: ....", code="template.drops_text"),
    "prompt_differs": Said(
        "the chat template renders a prompt differently in training and in generation: ....",
        code="template.prompt_differs",
    ),
    "no_turn_end": Said(
        "the chat template does not end turns: ....",
        code="template.no_turn_end",
        do=f"Set special_tokens.eos_token to the token that ends a turn. {OWN}",
    ),
    "no_system": Said(
        "the chat template does not support system turns (...), so they fail or are dropped.",
        code="template.no_system",
        grade="warning",
        do="Move instructions into the user turn, or correct the template.",
    ),
    "one_turn_only": Said(
        "the chat template rejects a second turn (...), so few-shot prompts are not possible.",
        code="template.one_turn_only",
        grade="warning",
    ),
    "default_system": Said(
        "the chat template adds a default system prompt to rows without one: ....",
        code="template.default_system",
        grade="note",
        do="Training and evaluation both contain it.",
    ),
    "no_thinking": Said(
        "`thinking` shows reasoning, but the chat template ...",
        code="template.no_thinking",
        do="Use a base model that thinks (docs/models.md), or set `thinking: off`.",
    ),
    "strips_thoughts": Said(
        "the chat template removes reasoning: .... It is not trained on.",
        code="template.strips_thoughts",
        grade="note",
        do="Rows without <think> are not affected.",
    ),
    "rewrites_turns": Said(
        "the chat template rewrites earlier turns: ....",
        code="template.rewrites_turns",
        grade="note",
        do="The last answer of a row is not affected.",
    ),
}


def template_rules(resolved: Resolved, add: Add) -> None:
    config = resolved.config
    base, revision = str(config["base_model"]), config.get("revision_of_model")
    try:
        known = find_text(config, lambda name: base_files.text_of(base, name, revision))
    except ValueError:
        return  # tokenizer_config.json is damaged; the code that loads the tokenizer reports it
    if known is None:
        return
    text, tokens = known
    ends = config.get("eot_tokens") or [tokens.get("eos_token")]
    say(look(text, tokens, config, ends[0] if len(ends) == 1 else None), resolved, add)


def look(text: str, tokens: dict[str, Any], config: AxolotlConfig, end: str | None) -> dict[str, str]:
    """Return the traits of a config's template (tunebook/models/templates.py), and `no_thinking` if it cannot
    show reasoning although the config's `thinking` says so."""
    arguments, shows = config.get("chat_template_kwargs") or {}, setting.of(config) in setting.SHOWN
    # The other traits are those of rows without reasoning.
    plain = {name: value for name, value in arguments.items() if not (shows and name == setting.SWITCH)}
    try:
        found = traits(ChatTemplate(text, {**tokens, **plain}), end)
        thinks = shows and form_of(ChatTemplate(text, {**tokens, **arguments}).render_turns)
    except TemplateError as error:
        return {"broken": str(error)}
    if shows:
        found.pop("strips_thoughts", None)
        if not thinks:
            found["no_thinking"] = "does not write `reasoning_content` between a prompt and its answer."
    return found


def say(found: dict[str, str], resolved: Resolved, add: Add) -> None:
    """Add a finding for each entry of `found`, the traits of a config's template."""
    keys = ("chat_template_jinja", "chat_template", "base_model")
    key = next(key for key in keys if resolved.config.get(key))
    for trait, said in TRAITS.items():
        if why := found.get(trait):
            add(said.grade, key, said.text.replace("...", why, 1), said.do, HELP, code=said.code)


RULES = (template_rules,)
