"""Build the site of the guide, site/index.html, with the packages of docs/requirements.txt: `make docs`.

The pages of the repository are copied as they lie, with what they link to, so that one link works in a
checkout and on the site. Zensical then fails on a link to a page or heading that does not exist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / ".docs"
LEFT_OUT = re.compile(r"^(\.|runs/|site/|tests/|.*/rows/|.*/tests/)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """Return the Markdown files of the site, relative to the repository."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(path for path in found if not LEFT_OUT.match(path.as_posix()))


def linked(page: Path) -> list[Path]:
    """Return what a page links to within the repository and is no page: pictures, YAML, code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = (ROOT / page.parent / link for link in LINK.findall(text) if "://" not in link)
    files = (target.resolve() for target in targets if target.is_file() and target.suffix != ".md")
    return [path.relative_to(ROOT) for path in files]


def stage() -> None:
    """Copy pages, and files that they link to, into STAGE in their places."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for page in pages():
        for path in [page, *linked(page)]:
            (STAGE / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, STAGE / path)
    (STAGE / "README.md").rename(STAGE / "index.md")


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
