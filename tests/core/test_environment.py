"""The TUNEBOOK_* variables: read fresh, checked, all listed, secrets masked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tunebook.commands.env import show_environment
from tunebook.core.console import Console
from tunebook.core.environment import Environment, environment, variable
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT

# Expanded in the file names of forgetting tasks, as any other variable would be.
NOT_OURS = {"TUNEBOOK_TEST_DATA"}


def test_variables_are_read_at_each_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TUNEBOOK_RUNS", raising=False)
    assert environment().runs == ROOT / "runs"
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path))
    assert environment().runs == tmp_path
    monkeypatch.setenv("TUNEBOOK_RUNS", "")
    assert environment().runs == ROOT / "runs"


def test_wrong_values_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_MAX_HOURS", "abc")
    monkeypatch.setenv("TUNEBOOK_NODES", "0")
    with pytest.raises(InputError) as caught:
        environment()
    assert caught.value.codes == ["option.bad_environment"]
    assert {problem.key for problem in caught.value.problems} == {"TUNEBOOK_MAX_HOURS", "TUNEBOOK_NODES"}
    assert "(got 'abc')" in str(caught.value)


def test_every_variable_that_the_code_names_is_listed() -> None:
    named = {
        name
        for path in (ROOT / "tunebook").rglob("*.py")
        for name in re.findall(r"TUNEBOOK_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    listed = {variable(field) for field in Environment.model_fields}
    assert named - NOT_OURS <= listed


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TUNEBOOK_ENDPOINT_KEY", "sk-very-secret")
    monkeypatch.setenv("TUNEBOOK_ENDPOINT", "http://me:hunter2@localhost/v1")
    assert show_environment(Console(), as_json=True) == 0
    text = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(text)}
    assert "very-secret" not in text and "hunter2" not in text
    assert rows["TUNEBOOK_ENDPOINT_KEY"]["value"] == "set"
    assert rows["TUNEBOOK_ENDPOINT_KEY"]["source"] == "environment"
    assert rows["TUNEBOOK_NODES"] == rows["TUNEBOOK_NODES"] | {"value": "1", "source": "default"}
