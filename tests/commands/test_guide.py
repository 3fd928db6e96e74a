"""The guide tells the truth: figures from committed files, commands that run, links, headings, length."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from scripts import build_docs, guide_blocks, write_guide
from tunebook.commands.cli import app
from tunebook.commands.options import variables
from tunebook.config import recipe
from tunebook.core.environment import Environment
from tunebook.core.paths import ROOT

PAGES = write_guide.pages()
KEYS = [write_guide.key(page) for page in PAGES]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is shown and not run: output, which only a block may hold, and shell lines, whose words are checked.
RUN, SHOWN = {"console", "python", "yaml", "json"}, {"text", "sh"}
MEASUREMENT = re.compile(r"\d\s?(?:%|(?:s|ms|GiB|GB|MB|points|minutes|hours|tokens/s)\b)|\$\d")
# The headings of the brief, and the pages that answer them.
BRIEF = {
    "Why fine-tune?": (
        "why",
        ["Prompting limitations", "Use cases", "Behavioral vs task-specific tuning"],
    ),
    "Types of fine-tuning": (
        "types",
        ["Full fine-tuning", "Adapter-based tuning", "LoRA", "Prefix and prompt tuning"],
    ),
    "Pipeline": (
        "pipeline",
        [
            "Data collection and formatting",
            "Preprocessing and tokenization",
            "Training set-up and config",
            "Evaluation and checkpoints",
        ],
    ),
    "Tools": (
        "tools",
        [
            *("Transformers + Datasets", "PEFT", "TRL", "Accelerate", "bitsandbytes", "DeepSpeed", "Axolotl"),
            *("OpenLLM", "LoRA libraries"),
        ],
    ),
    "Case studies": (
        "case-studies",
        [
            "Case study: text classification",
            "Case study: question answering",
            "Case study: a chatbot",
        ],
    ),
    "Trade-offs": (
        "trade-offs",
        ["Compute and cost", "Catastrophic forgetting", "Overfitting to instruction style"],
    ),
    "Evaluation practice": (
        "evaluation",
        ["Task-specific metrics", "Manual review", "Baseline vs fine-tuned"],
    ),
    "Closing": (
        "closing",
        ["Summary and when to fine-tune", "Hugging Face workflows next", "What to try on your own"],
    ),
}


def outside_blocks(text: str) -> str:
    return re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)


def nav() -> dict[str, list[str]]:
    """Return the pages of each part of the site, in its order."""
    parts = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    return {
        title: [page if isinstance(page, str) else next(iter(page.values())) for page in pages]
        for part in parts
        for title, pages in part.items()
        if isinstance(pages, list)
    }


@pytest.mark.parametrize("page", PAGES, ids=KEYS)
def test_figures_are_those_of_the_committed_files(page: Path) -> None:
    """After a change of results: .venv/bin/python -m scripts.write_guide"""
    text = page.read_text(encoding="utf-8")
    assert write_guide.with_blocks(page) == text, "run: .venv/bin/python -m scripts.write_guide"


def test_every_block_that_can_be_made_has_its_place() -> None:
    placed = {(write_guide.key(p), name) for p in PAGES for name in write_guide.MARK.findall(p.read_text())}
    assert placed == set(guide_blocks.BLOCKS)


@pytest.mark.parametrize("page", [p for p in PAGES if "```console" in p.read_text()], ids=write_guide.key)
def test_commands_print_what_the_page_shows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert write_guide.with_output(text) == text


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((write_guide.GUIDE / "recorded").glob("*.txt")), ids=lambda p: p.stem)
def test_recorded_outputs_are_printed_again(path: Path) -> None:
    command, _, output = path.read_text(encoding="utf-8").partition("\n")
    assert write_guide.printed(command.removeprefix("$ ")).strip() == output.strip()


@pytest.mark.parametrize("page", PAGES, ids=KEYS)
def test_a_page_has_its_form(page: Path) -> None:
    """One title, at most 1,200 words, no figure that was typed, no code that is neither run nor marked."""
    text = page.read_text(encoding="utf-8")
    own = outside_blocks(text)
    prose = FENCE.sub("", own)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert len(text.split()) <= 1200
    assert not MEASUREMENT.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose))
    for language, _ in FENCE.findall(own):
        assert language in RUN | SHOWN - {"text"}, language


@pytest.mark.parametrize("page", PAGES, ids=KEYS)
def test_code_is_valid_and_names_what_exists(page: Path) -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            ast.parse(code)
        elif language == "yaml":
            assert yaml.safe_load(code)
        if language not in ("sh", "console"):
            continue
        for name in re.findall(r"TUNEBOOK_([A-Z_]+)=", code):
            assert name.lower() in Environment.model_fields, name
        for verb, words in re.findall(r"\bmake ([a-z]+)((?: +[A-Z_]+=(?:\"[^\"]*\"|\S*))*)", code):
            command = group.get_command(context, verb)  # type: ignore[attr-defined]
            if command is None:
                continue  # test_docs.py knows all targets
            given = dict(re.findall(r"([A-Z_]+)=(\"[^\"]*\"|\S*)", words))
            assert given.keys() <= variables(command).keys(), (verb, words)
            if verb == "recipe" and not re.match(r"my-|tickets|\.\.\.", given["NAME"]):
                assert given["NAME"] in recipe.names()


def test_the_headings_of_the_brief_are_in_their_order() -> None:
    """Each heading is the title of a page of its own, in the part that the brief has it in."""
    parts = nav()
    assert [title for title in parts if title in BRIEF] == list(BRIEF)
    for title, (folder, headings) in BRIEF.items():
        assert all(page.startswith(f"docs/guide/{folder}/") for page in parts[title])
        titles = [(ROOT / page).read_text().partition("\n")[0].removeprefix("# ") for page in parts[title]]
        assert [found for found in titles if found in headings] == headings
    listed = {page for pages in parts.values() for page in pages}
    assert {path.relative_to(ROOT).as_posix() for path in PAGES} <= listed
    assert not [page for page in listed if not (ROOT / page).is_file()]


def test_the_site_is_made_of_pages_and_what_they_link_to() -> None:
    pages = {page.as_posix() for page in build_docs.pages()}
    assert {"README.md", "docs/guide/index.md", "recipes/classify-lora/README.md"} <= pages
    assert not [page for page in pages if page.startswith((".venv", "runs", "tests", "site"))]
    picture = build_docs.linked(Path("docs/guide/types/index.md"))
    assert Path("docs/methods.svg") in picture


def test_terms_are_linked_once_and_only_in_prose() -> None:
    page = "# LoRA\n\nA `LoRA` and [LoRA](x.md).\n\n| LoRA |\n|---|\n\nLoRA adapters, a LoRA, an adapter.\n"
    linked = build_docs.with_terms(page, {"LoRA": "lora", "adapter": "adapter"}, "../g.md")
    assert linked.startswith("# LoRA\n\nA `LoRA` and [LoRA](x.md).\n\n| LoRA |")
    assert linked.endswith("[LoRA](../g.md#lora) [adapters](../g.md#adapter), a LoRA, an adapter.\n")
    assert build_docs.with_terms("zero, ZeRO", {"ZeRO": "zero"}, "g.md") == "zero, [ZeRO](g.md#zero)"
    assert "LoRA" in build_docs.terms((write_guide.GUIDE / "glossary.md").read_text())


def test_figures_keep_their_units_in_tables_only() -> None:
    page = "81 % of\n| a 81 % b | 1.5 GiB |\n| 3 steps |"
    assert build_docs.with_units(page) == "81 % of\n| a 81\u00a0% b | 1.5\u00a0GiB |\n| 3 steps |"


@pytest.mark.parametrize("page", build_docs.pages(), ids=str)
def test_a_browser_shows_every_placeholder(page: Path) -> None:
    """`<recipe>/latest` outside of code is a tag that no browser knows: only `/latest` would be shown."""
    text = re.sub(r"```.*?```|`[^`]*`|^ {4}.*?$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.M)
    assert not re.findall(r"<(?!(?:a|br|img|details|summary|p|div|picture|source)\b)[a-z][\w-]*>", text)


@pytest.mark.slow
def test_the_site_builds_and_a_dead_link_stops_it(tmp_path: Path) -> None:
    """`make docs` with the pinned packages; then the same with a link to a page that does not exist."""
    venv = tmp_path / "venv"
    built = subprocess.run(["make", "docs", f"VENV={venv}"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (ROOT / "site" / "index.html").is_file()
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs")
    for name in ("README.md", "zensical.toml"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "build_docs.py", copy / "scripts")
    python = Path(f"{venv}-docs") / "bin" / "python"
    page = copy / "docs" / "guide" / "index.md"
    page.write_text("# Guide\n\n[dead](nowhere.md)\n")
    ended = subprocess.run(
        [python, copy / "scripts" / "build_docs.py"], cwd=copy, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "docs/guide/index.md:3" in ended.stdout
