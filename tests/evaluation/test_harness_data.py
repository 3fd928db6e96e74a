"""What keeps a task of lm-evaluation-harness from being measured is known before a training."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError

from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.core.files import read_json
from tunebook.evaluation.engines import harness, harness_data
from tunebook.evaluation.suite import Suite, load_suite
from tunebook.models import hub
from tunebook.pipeline import fetch
from tunebook.runs.run import Run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for NLTK's data, on a machine that reaches the Hub."""
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    monkeypatch.setattr(harness_data, "unreachable", lambda: None)
    monkeypatch.setattr(harness_data, "cache_only", lambda: None)
    monkeypatch.setattr(harness_data, "begin_worker", lambda: None)
    monkeypatch.setattr(hub, "PAUSES", (0.0,))
    monkeypatch.delitem(sys.modules, "nltk", raising=False)
    return tmp_path


def loads(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[str]:
    """Let the harness load its tasks, or fail; return their names as they come."""
    asked: list[str] = []

    def load_tasks(names: list[str]) -> None:
        asked.extend(names)
        if error:
            raise error

    monkeypatch.setattr(harness, "load_tasks", load_tasks)
    return asked


def nltk(found: bool) -> Any:
    def find(name: str) -> None:
        if not found:
            raise LookupError(name)

    return SimpleNamespace(data=SimpleNamespace(find=find))


def test_all_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = loads(monkeypatch)
    monkeypatch.setitem(sys.modules, "nltk", nltk(True))
    harness_data.main(str(here / "problems.json"), ["mmlu", "ifeval"])
    assert asked == ["mmlu", "ifeval"] and read_json(here / "problems.json") == []
    assert (here / "nltk").is_dir(), "NLTK downloads only into a folder that exists"


def test_a_refusal_names_the_task_and_what_to_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = httpx.Request("GET", "https://huggingface.co/datasets/cais/mmlu")
    error = HfHubHTTPError("no", response=httpx.Response(401, request=request))
    asked = loads(monkeypatch, error)
    harness_data.main(str(here / "problems.json"), ["mmlu"])
    (found,) = read_json(here / "problems.json")
    assert (found["code"], found["key"], asked) == ("hub.refused", "retention", ["mmlu"])
    assert "the data of mmlu" in found["text"]
    loads(monkeypatch, httpx.ConnectError("refused"))
    found = harness_data.load("mmlu")
    assert found is not None and found.code == "hub.unreachable" and "{mmlu: null}" in found.text


def test_sentences_that_nltk_could_not_download(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads(monkeypatch)
    monkeypatch.setitem(sys.modules, "nltk", nltk(False))
    found = harness_data.load("ifeval")
    assert found is not None and (found.code, found.key) == ("eval.no_sentence_data", "retention")
    assert str(here / "nltk" / "tokenizers") in found.text and "{ifeval: null}" in found.text


def suite_of(name: str) -> Suite:
    recipe = load_recipe(name)
    task = "chat" if name.startswith("chat") else "classification"
    return load_suite(recipe, task, "real", "full")


@pytest.mark.parametrize(
    ("name", "tasks"),
    [("chat-lora", 5), ("chat-prompt", 0), ("classify-head", 0)],
    ids=["adapter", "virtual tokens", "head"],
)
def test_tasks_are_loaded_for_methods_that_run_them(
    name: str, tasks: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(fetch, "base_model", lambda *_: "c" * 40)
    monkeypatch.setattr(fetch, "harness_tasks", lambda names, _: loaded.extend(names))
    config = load_recipe(name).config
    found = fetch.fetch(config, suite_of(name), Run(here / "run"), "e", Console(quiet=True))
    assert len(loaded) == tasks
    assert found == config | {"revision_of_model": "c" * 40}


def test_a_child_that_crashes_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CHILD", "tests.support.no_such_module")
    with pytest.raises(MachineError) as caught:
        fetch.harness_tasks(["mmlu"], Console(quiet=True))
    assert (caught.value.code, caught.value.exit_code) == ("eval.no_harness", 4)
