"""Options of fork that become keys of `source:` in dataset.yaml: which rows are read, and how.

In: the text of --where, --roles, --repair, --near and --thinking. Out: the keys, for the data files of a
fork.
"""

from __future__ import annotations

import shlex
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import SandboxedEnvironment

from tunebook.commands.fork.columns import Reading
from tunebook.config.overrides import repeated
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.repairs import SAYS
from tunebook.data.near_duplicates import Near

ROLES = ("system", "user", "assistant", "tool")


def check_words(where: str, roles: str, repair: str) -> None:
    """Refuse what is no expression, no `name=role` or no repair, before a row is read.

    Raises:
        InputError: it names the option.
    """
    try:
        SandboxedEnvironment().compile_expression(where or "true")
    except TemplateError as error:
        text = f'{error.message} (got {where!r}). Write it as "score >= 4".'
        raise InputError(Problem(text, key="--where (WHERE=)", code="data.bad_where")) from None
    read_roles(roles)
    _repairs(repair)


def rows_keys(where: str, roles: str, near: Near, thinking: str) -> dict[str, Any]:
    """Return the keys that are needed to read the rows.

    Raises:
        InputError: `roles` is not `name=role`.
    """
    keys: dict[str, Any] = {}
    if where:
        keys["where"] = where
    if roles:
        keys["roles"] = read_roles(roles)
    if near != "bounded":
        keys["near"] = near
    if thinking:
        keys["reasoning"] = True
    return keys


def read_roles(text: str) -> dict[str, str]:
    """Read ROLES="Kunde=user Haus=assistant"."""
    try:
        pairs = [word.rpartition("=") for word in shlex.split(text)]
    except ValueError as error:
        raise InputError(
            Problem(f"{error} in {text!r}.", key="--roles (ROLES=)", code="option.bad_roles")
        ) from None
    for name, _, role in pairs:
        if not name or role not in ROLES:
            message = f"expected a speaker and one of {', '.join(ROLES)}, as in Kunde=user (got {text!r})."
            raise InputError(Problem(message, key="--roles (ROLES=)", code="option.bad_roles"))
    if twice := repeated(name for name, _, _ in pairs):
        message = f"names the speaker {twice} twice (got {text!r})."
        raise InputError(Problem(message, key="--roles (ROLES=)", code="option.bad_roles"))
    return {name: role for name, _, role in pairs}


def repair_key(text: str, reading: Reading) -> dict[str, Any]:
    """Return the key of what may be changed in conversations.

    Raises:
        InputError: the rows are no conversations.
    """
    names = _repairs(text)
    if names and reading.layout != "chat":
        message = f"is for conversations, and the rows are read as {reading.layout}. Remove it."
        raise InputError(Problem(message, key="--repair (REPAIR=)", code="option.repair_not_chat"))
    return {"repair": names} if names else {}


def _repairs(text: str) -> list[str]:
    names = text.replace(",", " ").split()
    for name in names:
        if name not in SAYS:
            known = "; ".join(f"{repair} ({does})" for repair, does in SAYS.items())
            message = f"unknown repair {name!r}. Known: {known}."
            raise InputError(Problem(message, key="--repair (REPAIR=)", code="option.unknown_repair"))
    return names


def repair_notes(counts: dict[str, int], asked: list[str]) -> list[str]:
    """Return what each repair changed, including those that changed nothing."""
    return [f"REPAIR={name}: {SAYS[name]}, in {counts.get(name, 0)} conversations" for name in asked]
