"""The documents cannot lie: commands, links, recipe names and measured blocks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tunebook.commands.cli import app
from tunebook.config import recipe
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import block, fill
from tunebook.report.publish import markdown

PAGES = [path for path in ROOT.rglob("*.md") if not {".venv", "runs"} & set(path.relative_to(ROOT).parts)]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|    )make ([a-z]+)", text, re.MULTILINE))
    # Words of the design that name a verb still to come stand in CONTRIBUTING's rule only.
    assert named - {"plan"} <= TARGETS
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    for script in re.findall(r"\bscripts/\w+\.\w+", text):
        assert (ROOT / script).is_file(), script


def test_every_recipe_and_verb_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert recipe.names()
    for name in recipe.names():
        assert f"recipes/{name}/README.md" in readme
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert verbs
    for verb in verbs:
        assert verb in TARGETS, f"make {verb} is an alias of tunebook {verb}"
        assert f"make {verb}" in readme


@pytest.mark.parametrize("name", recipe.names())
def test_the_card_shows_the_published_results(name: str) -> None:
    folder = ROOT / "recipes" / name
    shown = block((folder / "README.md").read_text(), "results").strip()
    assert shown == markdown(folder / "results").strip()


def test_fill_replaces_its_block_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new \\1")
    assert page.read_text() == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"
    with pytest.raises(InputError, match="no <!-- y -->"):
        fill(page, "y", "z")
