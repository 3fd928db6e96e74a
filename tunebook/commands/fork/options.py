"""The options of `tunebook fork`: what they are, and how they are typed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any

from tunebook.commands.fork.columns import NAMES
from tunebook.core.errors import InputError, Problem
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.near_duplicates import Near


@dataclass(frozen=True)
class ForkOptions:
    """The arguments and options of `tunebook fork`; "" for options that were not given."""

    origin: str
    name: str
    data: str
    model: str | None = None
    task: str = ""
    fields: str = ""
    group: str = ""
    time: str = ""
    drop: str = ""
    near: Near = "bounded"
    where: str = ""
    roles: str = ""
    repair: str = ""
    drop_bad: int = 0
    table: TableOptions = AS_IT_IS
    labels: str = ""
    window: str = ""
    length: str = ""
    allow: str = ""
    thinking: str = ""

    @property
    def reading(self) -> dict[str, str]:
        """What a person said of how the rows are read and cut, by make's names."""
        table = self.table.model_dump(exclude_defaults=True)
        given = {name.upper(): "none" if name == "quotes" else str(value) for name, value in table.items()}
        given |= {"TASK": self.task, "FIELDS": self.fields, "GROUP": self.group, "TIME": self.time}
        given |= {"DROP": self.drop, "WHERE": self.where, "ROLES": self.roles, "REPAIR": self.repair}
        given |= {"NEAR": self.near if self.near != "bounded" else "", "LABELS": self.labels}
        given |= {"THINKING": self.thinking}
        return {name: value for name, value in given.items() if value}

    @property
    def command(self) -> str:
        """The fork command as typed, without options about lengths."""
        given = {"FROM": self.origin, "NAME": self.name, "DATA": self.data, "MODEL": self.model or ""}
        given |= {"TASK": self.task, "FIELDS": self.fields, "GROUP": self.group, "TIME": self.time}
        given |= {"DROP": self.drop, "NEAR": self.near if self.near != "bounded" else ""}
        given |= {"WHERE": self.where, "ROLES": self.roles, "REPAIR": self.repair, "LABELS": self.labels}
        given |= {"ALLOW": self.allow, "THINKING": self.thinking}
        return "make fork " + " ".join(f"{key}={shlex.quote(value)}" for key, value in given.items() if value)


def as_recorded(options: ForkOptions) -> dict[str, Any]:
    """Return the options as JSON values."""
    values = {name.name: getattr(options, name.name) for name in fields_of(options)}
    return values | {"table": options.table.model_dump(mode="json")}


def read_drop(text: str) -> list[str]:
    """Parse DROP="history meta.score 'Is Deleted'": names between blanks or commas, in quotes if they have
    one.

    Raises:
        InputError: a quote is not closed.
    """
    reader = shlex.shlex(text, posix=True)
    reader.whitespace, reader.whitespace_split, reader.commenters = " ,\t\n", True, ""
    try:
        return list(reader)
    except ValueError as error:
        raise InputError(
            Problem(f"{error} in {text!r}.", key="--drop (DROP=)", code="option.bad_drop")
        ) from None


def read_fields(text: str) -> dict[str, str]:
    """Parse FIELDS="text=body label=topic"."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(
            Problem(f"{error} in {text!r}.", key="--fields (FIELDS=)", code="option.bad_fields")
        ) from None
    pairs = [(name, column) for name, _, column in (word.partition("=") for word in words)]
    for name, column in pairs:
        if name and name not in NAMES:
            message = f"unknown field {name!r}. Known: {', '.join(NAMES)}."
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.unknown_field"))
        if not name or not column:
            message = f'expected name=column, as in "text=body label=topic" (got {text!r}).'
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.bad_fields"))
        if [known for known, _ in pairs].count(name) > 1:
            message = f'names {name!r} twice. To join columns: FIELDS="{name}=title+body".'
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.bad_fields"))
        if [known for _, known in pairs].count(column) > 1:
            message = f"takes the column {column!r} for two fields. Name one column for each."
            raise InputError(Problem(message, key="--fields (FIELDS=)", code="option.bad_fields"))
    return dict(pairs)
