"""The Jinja environments for files that Tunebook writes; data has its own sandbox for rendering rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tunebook.core.markdown import visible


def shown(value: object) -> object:
    """Return a value as it is shown to people: with control characters written out."""
    return visible(value) if type(value) is str else value


def template_environment(folder: Path, escape: bool, finalize: Callable[[Any], Any] = shown) -> Environment:
    """Return the environment for the templates in `folder`; an undefined name is an error.

    Args:
        escape: escape values for HTML, in templates named `.html.jinja` only.
        finalize: function applied to each value that is filled in.
    """

    def html(name: str | None) -> bool:
        return escape and name is not None and name.endswith(".html.jinja")

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
