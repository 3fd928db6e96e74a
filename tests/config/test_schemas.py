"""The JSON schemas are current, every shipped YAML names its own, and they refuse what the code refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tunebook.core.paths import ROOT
from tunebook.core.yaml_file import read_yaml

PATTERNS = [
    ("recipe", "recipes/*/recipe.yaml"),
    ("trial", "recipes/*/trial.yaml"),
    ("eval", "recipes/*/eval.yaml"),
    ("eval", "evals/suites/[cpq]*.yaml"),  # the tasks'; retention.yaml and style.yaml are parts of each
    ("dataset", "datasets/*/dataset.yaml"),
]
FILES = [(kind, path) for kind, pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / f"{kind}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def problems(kind: str, value: Any) -> list[str]:
    return [error.message for error in validator(kind).iter_errors(value)]


def test_they_are_current() -> None:
    command = [sys.executable, "scripts/write_schemas.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_a_shipped_file_names_its_schema_and_keeps_to_it(kind: str, path: Path) -> None:
    named = MODELINE.match(path.read_text())
    assert named, "the first line is the modeline"
    assert (path.parent / named[1]).resolve() == ROOT / "schemas" / f"{kind}.json"
    assert problems(kind, read_yaml(path)[0]) == []


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("recipe", {"base_model": "x", "learning_rat": 1e-4}, "learning_rat"),
        ("recipe", {"datasets": [{"path": "x", "role_to_train": []}]}, "role_to_train"),
        ("recipe", {"lora_r": "big"}, "'big'"),
        ("recipe", {"rows": {"train": 3}}, "rows"),
        ("trial", {"rows": {"trian": 3}}, "trian"),
        ("trial", {"rows": {"train": 0}}, "minimum"),
        ("eval", {"shot": 1}, "shot"),
        ("eval", {"dev_rows": {"trial": 40}}, "trial"),
        ("eval", {"gates": {"stop_rate": {"at_lest": 0.8}}}, "at_lest"),
        ("dataset", {"name": "x"}, "required"),
        (
            "dataset",
            {"name": "x", "task": "poetry", "licence": "x", "source": {}, "system": "", "prompt": ""},
            "poetry",
        ),
    ],
)
def test_what_is_refused(kind: str, value: Any, said: str) -> None:
    assert any(said in message for message in problems(kind, value)), problems(kind, value)


@pytest.mark.parametrize(
    "value", [{"dev_rows": 10}, {"generate_rows": {"trial": 4, "real": None}}, {"generate_rows": None}]
)
def test_an_eval_yaml_may_hold_any_part(value: dict[str, Any]) -> None:
    assert problems("eval", value) == []
