"""Write the reference of docs/commands.md from the code of the commands. A test checks that it is current.

.venv/bin/python scripts/write_command_docs.py
"""

from __future__ import annotations

import re
from typing import Any

import typer

from tunebook.commands.cli import app
from tunebook.commands.options import variables
from tunebook.core.markdown import markdown_table, with_placeholders
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import fill

PAGE = ROOT / "docs" / "commands.md"


def reference() -> str:
    """Return one section per command: what it does, and its options with the make variable of each."""
    group: Any = typer.main.get_command(app)
    context, sections = typer.Context(group), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        lines = [f"### {name}", "", with_placeholders(re.sub(r"\s+", " ", command.help or "").strip())]
        if rows := [_row(variable, parameter) for variable, parameter in variables(command).items()]:
            lines += ["", markdown_table(rows)]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _row(variable: str, parameter: Any) -> dict[str, str]:
    argument = parameter.param_type_name == "argument"
    shown = [variable] if argument else [*parameter.opts, *parameter.secondary_opts]
    meaning = [getattr(parameter, "help", None) or ""]
    if choices := getattr(parameter.type, "choices", None):
        meaning.append(f"one of {', '.join(map(str, choices))}")
    if isinstance(parameter.default, int | float | str) and parameter.default not in ("", False):
        meaning.append(f"default: {parameter.default}")
    values = (
        ["1", "0"][: 1 + bool(parameter.secondary_opts)] if getattr(parameter, "is_flag", False) else [""]
    )
    return {
        "option": ", ".join(f"`{each}`" for each in shown),
        "make": ", ".join(f"`{variable}={value}`" for value in values),
        "meaning": with_placeholders("; ".join(text for text in meaning if text)).replace("|", "\\|"),
    }


def main() -> int:
    fill(PAGE, "commands", reference())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
