"""Keep measured blocks in README files equal to the files they come from."""

from __future__ import annotations

import re
from pathlib import Path

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show


def block(text: str, name: str) -> str:
    """Return the text between `<!-- name -->` and `<!-- /name -->` in `text`; "" without the marks."""
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    return match[1] if match else ""


def fill(path: Path, name: str, content: str) -> None:
    """Replace the block `name` of the file at `path` with `content`.

    Raises:
        InputError: the file has no such block.
    """
    text = path.read_text(encoding="utf-8")
    if f"<!-- {name} -->" not in text:
        text = f"has no <!-- {name} --> block to fill."
        raise InputError(Problem(text, show(path), code="report.no_block"))
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    path.write_text(
        pattern.sub(lambda match: f"{match[1]}{content.rstrip()}\n{match[2]}", text), encoding="utf-8"
    )
