"""The Jinja environments of files that Tunebook writes; data has its own sandbox, which renders rows."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tunebook.core.markdown import visible


def template_environment(folder: Path, escape: bool) -> Environment:
    """Return the environment of the templates in `folder`; a name that is not given is an error, and control
    characters in what is filled in are written out.

    Args:
        escape: escape what is filled in for HTML, in templates named `.html.jinja` only.
    """

    def html(name: str | None) -> bool:
        return escape and name is not None and name.endswith(".html.jinja")

    def shown(value: object) -> object:
        return visible(value) if type(value) is str else value

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
