"""Write the reference of docs/commands.md from the console entry. A test holds the page current.

.venv/bin/python scripts/write_command_docs.py
"""

from __future__ import annotations

import re
from typing import Any

import typer

from tunebook.commands.cli import app
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import fill

PAGE = ROOT / "docs" / "commands.md"


def make_variables() -> set[str]:
    """Return the variables that the Makefile accepts."""
    match = re.search(r"^KNOWN := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return set(match[1].split()) if match else set()


def reference() -> str:
    """Return one section per command: what it does, and its options with make's name for each."""
    group: Any = typer.main.get_command(app)
    context, known, sections = typer.Context(group), make_variables(), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        lines = [f"### {name}", "", re.sub(r"\s+", " ", command.help or "").strip()]
        if rows := [_row(parameter, known) for parameter in command.params if parameter.name != "help"]:
            lines += ["", markdown_table(rows)]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _row(parameter: Any, known: set[str]) -> dict[str, str]:
    argument = parameter.param_type_name == "argument"
    name = (parameter.metavar or parameter.name) if argument else parameter.opts[0].lstrip("-")
    variable = name.replace("-", "_").upper()
    shown = [variable] if argument else [*parameter.opts, *parameter.secondary_opts]
    meaning = [getattr(parameter, "help", None) or ""]
    if choices := getattr(parameter.type, "choices", None):
        meaning.append(f"one of {', '.join(map(str, choices))}")
    if isinstance(parameter.default, int | float | str) and parameter.default not in ("", False):
        meaning.append(f"default: {parameter.default}")
    flag = "1" if getattr(parameter, "is_flag", False) else ""
    return {
        "option": ", ".join(f"`{each}`" for each in shown),
        "make": f"`{variable}={flag}`" if variable in known else "",
        "meaning": "; ".join(text for text in meaning if text).replace("|", "\\|"),
    }


def main() -> int:
    fill(PAGE, "commands", reference())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
