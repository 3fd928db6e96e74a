"""Error codes: every error has one, docs/errors.md lists them, and what an error looks like."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.paths import ROOT

DOCS: Any = importlib.import_module("scripts.write_error_docs")
FAMILIES = """config recipe data rows labels split model hardware run store train eval endpoint report plan
launch option machine hub check fork predict chat serve export access duplicates secrets tokens
training turns base template thinking tracker windows advise""".split()
CODE = re.compile(rf"({'|'.join(FAMILIES)})\.[a-z0-9]+(_[a-z0-9]+){{0,3}}")


def test_every_error_has_a_literal_code() -> None:
    bare = [f"{one.file}:{one.line}: {one.message}" for one in DOCS.faults() if not CODE.fullmatch(one.code)]
    assert not bare


def test_the_page_of_codes_is_current() -> None:
    """Run scripts/write_error_docs.py after a change of errors."""
    assert (ROOT / "docs" / "errors.md").read_text() == DOCS.page()


def test_an_error_knows_the_codes_of_all_its_problems() -> None:
    first = Problem("not UTF-8.", "rows.jsonl", 3, code="rows.not_utf8")
    second = Problem("unknown key.", "recipe.yaml", key="lr", code="config.unknown_key")
    with pytest.raises(InputError) as error:
        raise_all([first, second, first])
    assert error.value.codes == ["rows.not_utf8", "config.unknown_key"]
    assert str(error.value).splitlines()[1] == "recipe.yaml: lr: unknown key."
    assert error.value.exit_code == 2
