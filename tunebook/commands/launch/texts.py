"""The files of a launch. Values are never pasted into a template: each is written as a literal of the file's
language.

In a YAML file, that is JSON, which YAML contains, or a block of whole lines; in a script, a word quoted by
shlex, or several words for a list. Comments are one line.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.core.templates import template_environment


class Text(str):
    """Text that is inserted unchanged."""


def one_line(text: str) -> Text:
    """Return `text` for a comment or a single line: characters that could end the line become spaces."""
    return Text("".join(letter if letter.isprintable() else " " for letter in text))


def in_yaml(value: Any) -> str:
    """Return `value` as YAML for a top-level entry."""
    if isinstance(value, Text):
        return value
    lines = value.split("\n") if isinstance(value, str) else []
    if len(lines) > 1 and lines[-1] == "" and all(line.isprintable() for line in lines):
        return "|2\n" + "\n".join(f"  {line}" for line in lines[:-1])  # for people: a block as it is run
    return json.dumps(value)


def in_script(value: Any) -> str:
    """Return `value` as one shell word, or a list as several."""
    if isinstance(value, Text):
        return value
    return shlex.join(value) if isinstance(value, list | tuple) else shlex.quote(str(value))


def render(folder: Path, values: dict[str, Any]) -> dict[str, str]:
    """Return the rendered text of each template in `folder` by file name."""
    files = {}
    for path in sorted(folder.glob("*.j2")):
        language: Callable[[Any], str] = in_yaml if path.stem.endswith(".yaml") else in_script
        environment = template_environment(folder, escape=False, finalize=language)
        environment.filters["line"] = one_line
        files[path.stem] = environment.get_template(path.name).render(values)
    return files
