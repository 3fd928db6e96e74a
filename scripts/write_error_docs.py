"""Write docs/errors.md from the errors in the code. A test checks it, and that every error has a code.

.venv/bin/python scripts/write_error_docs.py
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tunebook.core.paths import ROOT

PAGE = ROOT / "docs" / "errors.md"
EXITS = {"InputError": "2", "MachineError": "4", "StoppedError": "75", "TunebookError": "1"}
# Position of the code if it is not a keyword argument.
PLACES = {**dict.fromkeys(EXITS, 1), "Problem": 4, "RowFault": 2, "Finding": 8}
PASSED_ON = {"fault": 4, "validation_problems": 3}
# Position of the message if it is not the first argument. `add` and `_at` add a finding.
MESSAGES = {"RowFault": 1, "Finding": 2, "add": 2, "_say": 2, "_at": 3, "_row": 3, "_report": 1}
SHOWN = 160
HEAD = """# Error codes

The last line of an error names its code. Codes are stable, for scripts and searches;
messages may change. `scripts/write_error_docs.py` makes this page from the code: one
message per code, with `...` for values. Exit codes: 2 for errors in the input, 4 for
the machine, 75 for a stopped run that can be resumed ([all exit
codes](ARCHITECTURE.md#exit-codes)). `tunebook check --json` prints the codes of
findings, too.
"""


class Fault(NamedTuple):
    """A place in the code that creates an error: its literal code ("" if it has none) and its message."""

    code: str
    message: str
    file: str
    line: int


def faults() -> list[Fault]:
    """Return every place in tunebook/ that creates an error or a finding."""
    found = []
    for path in sorted((ROOT / "tunebook").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants, assigned = _constants(tree), _assigned(tree)
        for call in _calls(tree):
            texts = constants | {name: value for line, name, value in assigned if line <= call.lineno}
            text = _text(call.args[_message_place(call)], texts) if call.args else ""
            found.append(Fault(_code(call), text, str(path.relative_to(ROOT)), call.lineno))
    return found


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)):
            continue
        if _name(node) not in PLACES:
            if _code(node):  # a function that passes the code on to an error or a finding
                yield node
        elif not _carries_problems(node):
            yield node


def _carries_problems(call: ast.Call) -> bool:
    """Whether the code comes from elsewhere: `InputError(problem)`, `problems=...`, a parameter `code`."""
    if any(isinstance(one, ast.Name) and one.id == "code" for one in _given(call)):
        return True
    if any(keyword.arg in ("problems", None) for keyword in call.keywords):
        return True
    if len(call.args) != 1 or call.keywords:
        return any(isinstance(one, ast.Attribute) and one.attr == "code" for one in _given(call))
    only = call.args[0]
    return isinstance(only, ast.Call | ast.Name) and not _is_text(only)


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "code")]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str"


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr  # type: ignore[attr-defined]


def _message_place(call: ast.Call) -> int:
    return min(MESSAGES.get(_name(call), 0), len(call.args) - 1)


def _code(call: ast.Call) -> str:
    place = (PLACES | PASSED_ON).get(_name(call))
    given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    given += [] if place is None else call.args[place : place + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the values that a module assigns to names at its top level."""
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _assigned(tree: ast.Module) -> list[tuple[int, str, ast.expr]]:
    """Return line, name and value of every assignment, by line: the last one before a call counts."""
    found = [
        (node.lineno, target.id, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    found += [  # a loop variable has a value of its own
        (node.lineno, node.target.id, ast.Constant("..."))
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
    ]
    return sorted(found, key=lambda one: one[0])


def _text(node: ast.expr, texts: dict[str, ast.expr]) -> str:
    """Return a message as written in the code, with `...` for each value filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left, texts) + _text(node.right, texts)
    if isinstance(node, ast.Name) and node.id in texts:
        return _text(texts[node.id], {})
    return "..."


def page() -> str:
    """Return docs/errors.md: a table for each family of codes."""
    families: dict[str, dict[str, list[Fault]]] = defaultdict(lambda: defaultdict(list))
    for fault in faults():
        if fault.code:
            families[fault.code.partition(".")[0]][fault.code].append(fault)
    parts = [HEAD]
    for family, codes in sorted(families.items()):
        parts.append(f"## {family}\n\n| code | message | raised in |\n|---|---|---|")
        for code, places in sorted(codes.items()):
            message = max((one.message for one in places), key=lambda text: (text != "...", len(text)))
            files = ", ".join(f"`{file}`" for file in dict.fromkeys(one.file for one in places))
            parts.append(f"| `{code}` | {_cell(message)} | {files} |")
        parts.append("")
    return "\n".join(parts)


def _cell(message: str) -> str:
    text = " ".join(message.split())
    if not text.strip(". "):
        return "(several)"
    text = text if len(text) <= SHOWN else text[: SHOWN - 3].rsplit(" ", 1)[0] + " ..."
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
