"""A full disk and a folder that cannot be written are the machine's fault, and say what to set."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import in_process
from tunebook.core import environment
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.core.system_errors import of_system


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "machine.no_space"),
        (errno.EDQUOT, "machine.no_space"),
        (errno.EACCES, "machine.not_writable"),
        (errno.EROFS, "machine.not_writable"),
        (errno.EPERM, "machine.not_writable"),
        (errno.ENOENT, None),
        (errno.EPIPE, None),
    ],
)
def test_kinds(number: int, code: str | None) -> None:
    error = of_system(OSError(number, os.strerror(number), "/somewhere"))
    assert (error.code if error else None) == code
    if error:
        assert error.exit_code == 4 and error.problems[0].file == "/somewhere"


@pytest.mark.slow
@pytest.mark.parametrize("words", [("check", "{}"), ("evaluate", "{}"), ("fork", "chat-lora", "mine", "{}")])
@pytest.mark.parametrize(
    "name", ["a" * 5000, "../../none", "a\tb", "-", "", " ", "caf\u00e9", "a/b", "docs/guide/.."]
)
def test_odd_names_are_one_sentence(words: tuple[str, ...], name: str) -> None:
    shown = in_process(*(word.format(name) for word in words))
    assert shown.returncode in (2, 4) and "unexpected" not in shown.stderr, (
        shown.stderr
    )  # a/b may be on the Hub
    assert len(shown.stderr) < 1200 and shown.stderr.count("\n") <= 4


@pytest.mark.parametrize(
    ("path", "variable"),
    [("runs/x/state.json", "TUNEBOOK_RUNS"), ("cache/uv/y", "TUNEBOOK_CACHE"), ("runs", "TUNEBOOK_RUNS")],
)
def test_the_variable_is_named(
    path: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    error = of_system(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / path)))
    assert error and variable in str(error)


def test_a_person_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TUNEBOOK_CACHE", raising=False)
    monkeypatch.setattr(environment.Path, "home", nobody)
    with pytest.raises(InputError) as caught:
        environment.environment()
    assert caught.value.code == "option.no_home" and "TUNEBOOK_CACHE" in str(caught.value)
    monkeypatch.setenv("TUNEBOOK_CACHE", "/data/cache")
    assert environment.environment().cache == Path("/data/cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_the_shells_character_set_does_not_matter(locale: dict[str, str], tmp_path: Path) -> None:
    """Recipes, rows and messages are UTF-8. Python's own switch (PYTHONUTF8=0) is the strictest case."""
    (tmp_path / "recipes" / "wörter").mkdir(parents=True)
    (tmp_path / "recipes" / "wörter" / "recipe.yaml").write_text("näme: 1\n", encoding="utf-8")
    variables = {**os.environ, **locale, "TUNEBOOK_RECIPES": str(tmp_path / "recipes")}
    command = [sys.executable, "-m", "tunebook.commands.cli", "check", "wörter", "--json"]
    result = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert "näme" in json.dumps(json.loads(result.stdout.decode("utf-8")), ensure_ascii=False)


def test_a_clone_with_windows_line_ends_keeps_its_scripts(tmp_path: Path) -> None:
    """core.autocrlf=true would give scripts/set_up.sh lines that sh cannot read."""
    git = ["git", "-C", str(tmp_path)]
    if subprocess.run([*git, "init", "-q"], capture_output=True).returncode:
        pytest.skip("git is not here")
    files = {".gitattributes": ROOT / ".gitattributes", "set_up.sh": ROOT / "scripts" / "set_up.sh"}
    for name, source in files.items():
        (tmp_path / name).write_bytes(source.read_bytes())
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, *who, "commit", "-qm", "x"], check=True)
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "-c", "core.autocrlf=true", str(tmp_path), str(clone)]
    subprocess.run(command, check=True)
    assert b"\r" not in (clone / "set_up.sh").read_bytes()
