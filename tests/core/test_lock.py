"""requirements.lock: every file by its hash, and without what served the holes that are known."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from types import ModuleType

import pytest

from tunebook.core.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
ENTRIES = re.findall(
    r"^(?=[a-z0-9])([a-z0-9._-]+)==(\S+)(.*?)(?=^[a-z0-9]|\Z)", LOCK, re.MULTILINE | re.DOTALL
)


def test_every_package_has_hashes() -> None:
    assert len(ENTRIES) > 200
    assert [name for name, _, rest in ENTRIES if "--hash=sha256:" not in rest] == []


def test_what_served_known_holes_is_gone() -> None:
    versions: dict[str, list[tuple[int, ...]]] = {}
    for name, version, _ in ENTRIES:
        versions.setdefault(name, []).append(tuple(int(part) for part in re.findall(r"\d+", version)[:3]))
    assert not {"gradio", "gradio-client", "trackio"} & set(versions)
    assert min(versions["starlette"]) > (0, 52, 1)  # CVE-2026-48710
    assert min(versions["pillow"]) > (11, 3, 0)  # CVE-2026-25990, -40192


def test_nothing_of_ours_needs_what_is_overridden() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    gone = {entry.partition(";")[0].strip() for entry in project["tool"]["uv"]["override-dependencies"]}
    asked = {re.match(r"[\w.-]+", entry)[0] for entry in project["project"]["dependencies"]}  # type: ignore[index]
    assert gone and not gone & asked
    for path in (ROOT / "tunebook").rglob("*.py"):
        assert not re.search(rf"^\s*(import|from) ({'|'.join(gone)})\b", path.read_text(), re.MULTILINE), path


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOOD = {"name": "a", "version": "1", "vulns": []}
HOLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def test_the_audit_counts_nothing_as_fine_that_was_not_checked(audit: ModuleType) -> None:
    assert audit.summary({"pypi": [GOOD], "osv": "no route"})[1] == 0
    lines, code = audit.summary({"pypi": [GOOD, HOLE, SKIPPED], "osv": "no route"})
    assert code == 1 and any("PYSEC-1" in line and "3" in line for line in lines)
    lines, code = audit.summary({"pypi": [GOOD, SKIPPED]})
    assert code == 4 and any("not checked: 1" in line and "(c)" in line for line in lines)
    lines, code = audit.summary({"pypi": [SKIPPED], "osv": "no route"})
    assert code == 4 and any("no database" in line for line in lines)
    assert audit.summary({"pypi": "no route"})[1] == 4
