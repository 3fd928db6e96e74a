"""What the chat template of the base does with conversations: a folder's may be anything."""

from __future__ import annotations

from jinja2 import TemplateError

from tunebook.check.findings import Add
from tunebook.config.resolved import Resolved
from tunebook.models import base_files
from tunebook.models.templates import ChatTemplate, find_text, traits

HELP = "https://huggingface.co/docs/transformers/main/en/chat_templating_writing"
OWN = "Put a corrected template into chat_template_jinja, with chat_template: jinja."


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
    config = resolved.config
    key = "chat_template_jinja" if config.get("chat_template_jinja") else "chat_template"
    if key not in config:
        key = "base_model"
    if why := found.get("broken"):
        add(
            "error",
            key,
            f"the chat template fails on a plain conversation: {why}.",
            OWN,
            HELP,
            code="template.broken",
        )
    if why := found.get("depends_on_day"):
        do = "Pin it: chat_template_kwargs: {date_string: ...} where the template reads that. " + OWN
        text = f"the chat template depends on the day: {why}, so that training and a later evaluation differ."
        add("error", key, text, do, HELP, code="template.depends_on_day")
    if why := found.get("drops_text"):
        add("error", key, f"the chat template loses text: {why}.", OWN, HELP, code="template.drops_text")
    if why := found.get("prompt_differs"):
        text = f"the chat template renders a prompt for training in another way than for an answer: {why}."
        add("error", key, text, OWN, HELP, code="template.prompt_differs")
    if why := found.get("no_turn_end"):
        do = "Name the token that does as special_tokens.eos_token. " + OWN
        add(
            "error",
            key,
            f"the chat template does not end turns: {why}.",
            do,
            HELP,
            code="template.no_turn_end",
        )
    if why := found.get("no_system"):
        text = f"the chat template takes no system turn ({why}): rows and prompts with one fail or lose it."
        do = "Put instructions into the user turn, or correct the template."
        add("warning", key, text, do, HELP, code="template.no_system")
    if why := found.get("one_turn_only"):
        text = f"the chat template refuses a second turn ({why}): few-shot prompts are not possible."
        add("warning", key, text, OWN, HELP, code="template.one_turn_only")
    if why := found.get("default_system"):
        text = f"the chat template adds a system prompt of its own where a row has none: {why!r}."
        add("note", key, text, "Training and evaluation both have it.", HELP, code="template.default_system")
    if why := found.get("strips_thoughts"):
        text = f"the chat template strips thoughts: {why}. They are not trained."
        add("note", key, text, "Rows without <think> lose nothing.", HELP, code="template.strips_thoughts")
    if why := found.get("rewrites_turns"):
        text = f"the chat template rewrites turns: {why}."
        add(
            "note",
            key,
            text,
            "The last answer of a row is as it is asked.",
            HELP,
            code="template.rewrites_turns",
        )


RULES = (template_rules,)
