"""docs/security.md says nothing that no test holds."""

from __future__ import annotations

import ast
import re

import pytest

from tunebook.core.paths import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| (?!what |---)(.+?) \| .+ \| `(tests/[\w/]+\.py)`: (\w+) \|$", PAGE, re.MULTILINE)


def test_every_line_names_its_test() -> None:
    table = PAGE.partition("## What is checked")[2].partition("\n\n`make audit`")[0]
    assert len(LINES) == len([line for line in table.splitlines() if line.startswith("| ")]) - 1 > 15


@pytest.mark.parametrize(("what", "file", "name"), LINES)
def test_the_test_exists(what: str, file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert f"test_{name}" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, what


def test_it_is_linked() -> None:
    assert "(docs/security.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_bases_without_a_digest_say_why() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"((?:#.*\n)+)ARG BASE_IMAGE=(\S+)", text)
    assert base and ("@sha256:" in base[2] or "not by digest" in base[1])
    others = (ROOT / "Makefile").read_text() + (ROOT / "compose.yaml").read_text()
    for image in re.findall(r"BASE_IMAGE(?:=|: \")([^\s\"]+)", others):
        assert "@sha256:" in image or "compose.yaml" in base[1], image
