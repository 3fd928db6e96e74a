"""The documents cannot lie: commands, links, paths, recipe names and generated blocks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import typer

from tunebook.commands.cli import app
from tunebook.config import recipe
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.plugins import HOMES
from tunebook.report.markdown_blocks import block, fill
from tunebook.report.publish import FRONT_PAGE, front_page, markdown, shelf

PAGES = [path for path in ROOT.rglob("*.md") if not re.match(r"\.|runs/", str(path.relative_to(ROOT)))]
COMMENTED = [*ROOT.glob("recipes/*/*.yaml"), *ROOT.glob("hardware/*.yaml"), *ROOT.glob("launch/*/*.j2")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = "tunebook|tests|scripts|benchmarks|datasets|recipes|hardware|evals|schemas|launch|docs"
# A path in prose: a file with a suffix, or a folder in backticks; not the names that examples make up.
FILE = re.compile(
    rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]+\.(?:py|ya?ml|json|jsonl|jinja|sh|md|ipynb|svg))(?!\w)"
)
FOLDER = re.compile(rf"`((?:{FOLDERS})/(?:[\w.-]+/)*)`")
INVENTED = re.compile(r"\.\.\.|NAME|my-|machine\.sh|support-topics|tickets|/rows/|/results/\*|merged")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_commands_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|`|    )make ([a-z]+)", text, re.MULTILINE)) <= TARGETS
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, *COMMENTED], ids=shown)
def test_paths_and_plugins_in_the_text_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # names what was, too
        return
    text = page.read_text(encoding="utf-8")
    named = {*FILE.findall(text), *FOLDER.findall(text)}
    missing = [path for path in named if not INVENTED.search(path) and not (ROOT / path).exists()]
    assert not missing
    for plugin in re.findall(r"tunebook\.plugins\.([A-Z]\w+)", text):
        assert plugin == "NAME" or plugin in HOMES, plugin
    for module in re.findall(r"(?<![\w.])(tunebook(?:\.[a-z_]+)+)(?![\w.]*\()", text):
        if (ROOT / module.replace(".", "/")).is_dir() or module == "tunebook.json":
            continue
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_recipe_and_verb_has_its_place() -> None:
    recipes = (ROOT / "recipes" / "README.md").read_text()
    commands = (ROOT / "docs" / "commands.md").read_text()
    assert recipe.names()
    for name in recipe.names():
        assert f"({name}/README.md)" in recipes
    group = typer.main.get_command(app)
    verbs = group.list_commands(typer.Context(group))  # type: ignore[attr-defined]
    assert verbs
    for verb in verbs:
        assert f"### {verb}\n" in commands


def test_the_reference_of_commands_is_current() -> None:
    """Run scripts/write_command_docs.py after a change of commands or options."""
    reference = importlib.import_module("scripts.write_command_docs").reference()
    assert block((ROOT / "docs" / "commands.md").read_text(), "commands").strip() == reference.strip()


def test_the_tables_of_recipes_are_current() -> None:
    """Run `tunebook results` after a change of recipes or results."""
    assert block((ROOT / "README.md").read_text(), "recipes").strip() == front_page()
    assert block((ROOT / "recipes" / "README.md").read_text(), "recipes").strip() == shelf()
    assert len(FRONT_PAGE) == 6


@pytest.mark.parametrize("name", recipe.names())
def test_the_card_shows_the_published_results(name: str) -> None:
    folder = ROOT / "recipes" / name
    results = block((folder / "README.md").read_text(), "results").strip()
    assert results == markdown(folder / "results").strip()


def test_prose_keeps_to_one_width() -> None:
    """88 columns; tables, code, generated blocks and lines with one long link are as wide as they are."""
    wide = []
    for page in PAGES:
        text = re.sub(
            r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for line in text.splitlines():
            if len(line) > 88 and not re.match(r"\||    |!\[", line) and " " in line.strip("- "):
                wide.append(f"{shown(page)}: {line}")
    assert not wide


def test_fill_replaces_its_block_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new \\1")
    assert page.read_text() == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"
    with pytest.raises(InputError, match="no <!-- y -->"):
        fill(page, "y", "z")
