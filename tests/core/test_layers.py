"""The packages import one way, without circles; what a person waits for needs no torch (pyproject.toml)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from tunebook.core.paths import ROOT

MOST_FILES = 17  # at the top of a package


def test_imports_go_one_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tunebook").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_our_own_modules_are_imported_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())
    at_top = {id(node) for node in tree.body}
    late = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tunebook")
        if id(node) not in at_top
    ]
    assert late == []


def test_no_package_has_too_many_files() -> None:
    folders = [ROOT / "tunebook", *(p.parent for p in (ROOT / "tunebook").rglob("__init__.py"))]
    counts = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


def test_collecting_tests_imports_no_torch(torch_while_collecting: bool) -> None:
    assert not torch_while_collecting, "name it by tests/support/lazy.py"


def test_workers_share_the_cores() -> None:
    """numpy with a thread for every core in every worker would make them wait for each other."""
    import numpy  # noqa: F401 (has the threads)

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    threads = [pool["num_threads"] for pool in threadpool_info()]
    assert threads and max(threads) * workers <= max(workers, os.cpu_count() or 1)
