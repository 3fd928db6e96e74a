"""Fill in the pages of docs/guide: blocks from committed files, and the output of the commands shown.

.venv/bin/python -m scripts.write_guide

A block is the text between `<!-- name -->` and `<!-- /name -->`; scripts/guide_blocks generates it, and names
the files that it read in the line below. In a `console` fence, each line that begins with `$ ` is run and
followed by its output. A test (tests/commands/test_guide.py) fails if either is out of date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from scripts import guide_blocks
from tunebook.commands import cli
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import block

GUIDE = ROOT / "docs" / "guide"
MARK = re.compile(r"^<!-- ([a-z][\w-]*) -->$", re.MULTILINE)
FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    return sorted(GUIDE.rglob("*.md"))


def key(page: Path) -> str:
    """Return the name of a page: its path below docs/guide without the suffix."""
    return page.relative_to(GUIDE).with_suffix("").as_posix()


def with_blocks(page: Path) -> str:
    """Return the text of a page with its blocks regenerated.

    Raises:
        KeyError: scripts/guide_blocks does not know a block of the page.
    """
    text = page.read_text(encoding="utf-8")
    for name in MARK.findall(text):
        made = guide_blocks.made(key(page), name)
        text = text.replace(
            f"<!-- {name} -->\n{block(text, name)}<!-- /{name} -->",
            f"<!-- {name} -->\n{made}\n<!-- /{name} -->",
        )
    return text


def with_output(text: str) -> str:
    """Return a page with the output of its `console` fences regenerated."""
    return FENCE.sub(lambda match: f"```console\n{_run(match[1])}```", text)


def printed(command: str) -> str:
    """Run `tunebook VERB ... [| shell]` without any TUNEBOOK_ variables, and return its output.

    The command runs inside this process, so that modules are imported once; a shell runs only what follows
    a pipe.
    """
    own, _, rest = command.partition(" | ")
    words, out, before = shlex.split(own), io.StringIO(), dict(os.environ)
    assert words[0] == "tunebook", command
    with tempfile.TemporaryDirectory() as empty:
        try:
            for name in [name for name in before if name.startswith("TUNEBOOK_")]:
                del os.environ[name]
            if words[1] == "plan":  # would use rows that this machine has read before
                os.environ["TUNEBOOK_CACHE"] = empty
            os.environ |= {"COLUMNS": "88", "NO_COLOR": "1"}
            with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = cli.run(words[1:])
        finally:
            os.environ.clear()
            os.environ.update(before)
    text = out.getvalue()
    if rest:
        text = subprocess.run(["bash", "-c", rest], input=text, capture_output=True, text=True).stdout
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join([*lines, *([f"(exit code {code})"] if code else [])])


def _run(fence: str) -> str:
    commands = re.findall(r"^\$ (.*)$", fence, re.MULTILINE)
    return "".join(f"$ {command}\n{printed(command)}\n" for command in commands)


def main() -> int:
    for page in pages():
        page.write_text(with_output(with_blocks(page)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
