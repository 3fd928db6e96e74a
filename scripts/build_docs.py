"""Build the site of the guide, site/index.html, with the packages of docs/requirements.txt: `make docs`.

The pages are copied into the same folders, with the files that they link to, so that a link works both in a
checkout and on the site. Zensical then fails on a link to a page or heading that does not exist.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / ".docs"
LEFT_OUT = re.compile(r"^(\.|runs/|site/|tests/|.*/rows/|.*/tests/)")
GLOSSARY, STYLE = Path("docs/guide/glossary.md"), Path("docs/guide/site.css")
# Blocks, fences, code, links, headings, comments and the heads of tables.
OTHER_THAN_PROSE = re.compile(
    r"<!-- [\w-]+ -->.*?<!-- /[\w-]+ -->|```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)"
    r"|^#[^\n]*$|^\|[^\n]*\n\|--[^\n]*$",
    re.DOTALL | re.MULTILINE,
)
# A figure in a row of a table, and its unit.
UNIT = re.compile(r"(?<=\d) (?=(?:%|GiB|GB|MB|ms|s|min)(?![\w]))")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """Return the Markdown files of the site, relative to the repository."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(path for path in found if not LEFT_OUT.match(path.as_posix()))


def linked(page: Path) -> list[Path]:
    """Return the files of the repository that a page links to, other than pages: pictures, YAML, code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = (ROOT / page.parent / link for link in LINK.findall(text) if "://" not in link)
    files = (target.resolve() for target in targets if target.is_file() and target.suffix != ".md")
    return [path.relative_to(ROOT) for path in files]


def terms(glossary: str) -> dict[str, str]:
    """Return the anchor of each term of the glossary."""
    return {
        term: term.lower().replace(" ", "-") for term in re.findall(r"^### (.+)$", glossary, re.MULTILINE)
    }


def with_terms(text: str, known: dict[str, str], link: str) -> str:
    """Return a page with the first use of each term in its prose linked to the glossary at `link`."""
    left = {term.lower(): (term, anchor) for term, anchor in known.items()}
    words = "|".join(re.escape(term) for term in sorted(known, key=len, reverse=True))
    term = re.compile(rf"(?<![\w/-])({words})(s?)(?![\w/-])", re.IGNORECASE)

    def linked_once(match: re.Match[str]) -> str:
        name, anchor = left.get(match[1].lower(), ("", ""))
        # A term with capitals matches only that spelling: ZeRO is not zero.
        if not anchor or (name != name.lower() and match[1] != name):
            return match[0]
        del left[name.lower()]
        return f"[{match[0]}]({link}#{anchor})"

    parts = re.split(f"({OTHER_THAN_PROSE.pattern})", text, flags=OTHER_THAN_PROSE.flags)
    return "".join(part if at % 2 else term.sub(linked_once, part) for at, part in enumerate(parts))


def with_units(text: str) -> str:
    """Return a page whose tables, narrow on a phone, break no line between a figure and its unit."""
    lines = text.split("\n")
    return "\n".join(UNIT.sub("\u00a0", line) if line.startswith("|") else line for line in lines)


def stage() -> None:
    """Copy the pages and the files that they link to into STAGE, keep figures and units together, and link
    terms to the glossary."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for page in pages():
        for path in [page, *linked(page)]:
            (STAGE / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, STAGE / path)
    shutil.copyfile(ROOT / STYLE, STAGE / STYLE)
    known = terms((ROOT / GLOSSARY).read_text(encoding="utf-8")) if (ROOT / GLOSSARY).is_file() else {}
    for page in pages():
        text = with_units((ROOT / page).read_text(encoding="utf-8"))
        if known and page.is_relative_to(GLOSSARY.parent) and page != GLOSSARY:
            text = with_terms(text, known, os.path.relpath(GLOSSARY, page.parent))
        (STAGE / page).write_text(text, encoding="utf-8")


def main() -> int:
    stage()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "zensical.toml"]
    ended = subprocess.run(
        command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed = re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)
    print(printed.partition("Traceback")[0].strip())
    return ended.returncode


if __name__ == "__main__":
    raise SystemExit(main())
