"""A run behind `tunebook serve`, scored by the harness as an endpoint: the run's own answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tiny_run
from tests.support.lazy import lazy
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.paths import ROOT, child_environment
from tunebook.evaluation.contenders import TUNED
from tunebook.evaluation.endpoint.client import Settings
from tunebook.models import llama_cpp
from tunebook.runs.run import Run

SYSTEM = 'Say "yes" or "no".'
evaluator = lazy("tunebook.evaluation.evaluator")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = tiny_run.lora_run(tmp_path_factory.mktemp("served"))
    turns = [("system", SYSTEM), ("user", "Is it open?"), ("assistant", "It is.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    row = {"id": "1", "group": "1", "source": "mine", "messages": messages, "gold": {"answer": "It is."}}
    write_jsonl(made / "data" / "train.jsonl", [row])
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="transformers"),
        pytest.param(
            ["--engine", "llamacpp", "--quant", "f32"],
            id="llamacpp",
            marks=pytest.mark.skipif(
                not llama_cpp.folder().is_dir(),
                reason="llama.cpp is not built: make export TO=gguf builds it",
            ),
        ),
    ],
)
def test_a_served_run_has_its_own_score(run: Run, words: list[str], tmp_path: Path) -> None:
    """In the precision of the run; the same rows, the same metrics, the same answers."""
    command = [sys.executable, "-m", "tunebook.commands.cli", "serve", str(run.folder), "--port", "0"]
    child = subprocess.Popen(
        [*command, *words], cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout
        said = next((line for line in child.stdout if "/v1, model" in line), "")
        assert said, child.stdout.read()
        address = next(word for word in said.split() if word.startswith("http")).rstrip(",")
        name = next(word for line in child.stdout for word in line.split() if word.startswith("mine@"))
        assert json.dumps(SYSTEM) in next(line for line in child.stdout if "system prompt" in line)
        made = evaluator.Evaluator.of_run(run)
        own = {row["id"]: row for row in made.evaluate(TUNED, "test")}
        with pytest.raises(InputError, match=name):
            made.ask_endpoint(Settings(address=address, model="mine", prompt="tuned"), "test")
        made.ask_endpoint(Settings(address=address, model=name, prompt="tuned"), "test")
        served = {row["id"]: row for row in read_jsonl(run / "eval" / "answers" / "endpoint.test.jsonl")}
        answered = [id for id, row in own.items() if "answer" in row]
        assert answered and not [row for row in served.values() if "error" in row]
        for name in ("answer", "stopped", "chrf"):
            assert [served[id].get(name) for id in answered] == [own[id].get(name) for id in answered], name
    finally:
        child.terminate()
        child.wait()
    log = next(run.folder.glob("serve-*.log")).read_text()
    assert "\x1b" not in log
