"""Fill the pages of docs/guide: marked blocks from committed files, the output of the commands they show.

.venv/bin/python -m scripts.write_guide

A block stands between `<!-- name -->` and `<!-- /name -->`; scripts/guide_blocks.py makes it and names the
files it read below it. In a fence marked `console` each line that begins with `$ ` is run, and what
follows is what it printed. A test (tests/commands/test_guide.py) holds both current.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from scripts import guide_blocks
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
    """Return the text of a page with its blocks made anew.

    Raises:
        KeyError: scripts/guide_blocks.py does not know a block of the page.
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
    """Return a page with the output of its `console` fences made anew."""
    return FENCE.sub(lambda match: f"```console\n{_run(match[1])}```", text)


def _run(fence: str) -> str:
    shown = []
    for command in re.findall(r"^\$ (.*(?:\\\n.*)*)$", fence, re.MULTILINE):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEBOOK_")}
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env={**kept, "PATH": path, "COLUMNS": "88", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = [line.rstrip() for line in ended.stdout.splitlines()]
        code = [f"(exit code {ended.returncode})"] if ended.returncode else []
        shown += [f"$ {command}", *lines, *code]
    return "\n".join(shown) + "\n"


def main() -> int:
    for page in pages():
        page.write_text(with_output(with_blocks(page)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
