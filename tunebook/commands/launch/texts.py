"""The files of a launch. A value is never pasted into a template: it is written as a literal of the language.

In a YAML file that is JSON, which YAML contains, or a block of whole lines; in a script a word as shlex
quotes it, a list as several. Comments are one line.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.core.templates import template_environment


class Text(str):
    """What may stand in a file as it is."""


def one_line(text: str) -> Text:
    """Return `text` for a comment or a line of its own: what could end the line becomes a space."""
    return Text("".join(letter if letter.isprintable() else " " for letter in text))


def in_yaml(value: Any) -> str:
    """Return `value` as YAML for an entry of the top level."""
    if isinstance(value, Text):
        return value
    lines = value.split("\n") if isinstance(value, str) else []
    if len(lines) > 1 and lines[-1] == "" and all(line.isprintable() for line in lines):
        return "|2\n" + "\n".join(f"  {line}" for line in lines[:-1])  # for people: a block as it is run
    return json.dumps(value)


def in_script(value: Any) -> str:
    """Return `value` as one word of a shell, a list as several."""
    if isinstance(value, Text):
        return value
    return shlex.join(value) if isinstance(value, list | tuple) else shlex.quote(str(value))


def render(folder: Path, values: dict[str, Any]) -> dict[str, str]:
    """Return the text of each template in `folder` by its file's name."""
    files = {}
    for path in sorted(folder.glob("*.j2")):
        language: Callable[[Any], str] = in_yaml if path.stem.endswith(".yaml") else in_script
        environment = template_environment(folder, escape=False, finalize=language)
        environment.filters["line"] = one_line
        files[path.stem] = environment.get_template(path.name).render(values)
    return files
