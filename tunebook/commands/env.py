"""`tunebook env`: the TUNEBOOK_* variables, their values and where each value comes from."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import SecretStr

from tunebook.commands.options import Json, console
from tunebook.core.console import Console
from tunebook.core.environment import Environment, environment, variable
from tunebook.core.errors import GOOD


def show_environment(console: Console, as_json: bool) -> int:
    """Print every variable of `Environment`; a secret only as "set".

    Raises:
        InputError: a value has the wrong type.
    """
    here = environment()
    rows = [
        {
            "name": variable(field),
            "value": _shown(getattr(here, field)),
            "source": "environment" if field in here.model_fields_set else "default",
            "purpose": str(info.description),
        }
        for field, info in Environment.model_fields.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        console.table(rows)
    return GOOD


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set"
    # An address with a password is refused when it is used, and not shown here either.
    return "" if value is None else re.sub(r"//[^/]*@", "//[hidden]@", str(value))


def env_command(as_json: Json = False) -> int:
    """List the TUNEBOOK_* variables and their values.

    Secrets are only shown as set.
    """
    return show_environment(console(quiet=as_json), as_json)
