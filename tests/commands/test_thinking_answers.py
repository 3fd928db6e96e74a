"""Answers with reasoning of a model that was trained with `thinking`: serve and predict give them apart."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.commands.test_predict import finished
from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.commands import predict as predictions
from tunebook.commands.predict import predict
from tunebook.core.console import Console
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.runs.run import Run

server, predict_worker = lazy("tunebook.commands.after.server"), lazy("tunebook.commands.predict_worker")
TEMPLATE = ROOT / "tunebook" / "commands" / "fork" / "output" / "chatml_thinking.jinja"
THOUGHT, ANSWER = "The clock is at the mender's.", "On the bench."
TEXT = f"<think>\n{THOUGHT}\n</think>\n{ANSWER}"
ASK = {"model": "mine", "messages": [{"role": "user", "content": "Where is my clock?"}]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("thinking")
    model = tiny.save(folder / "model")
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE.read_text()
    tokenizer.save_pretrained(model)
    run = finished(folder, model, "kettlewick-chat")
    config = {**run.config(), "thinking": "keep", "chat_template_kwargs": {"enable_thinking": True}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "data").mkdir()
    for split in ("train", "dev", "test"):
        (run / "data" / f"{split}.jsonl").write_text("")
    return run


def test_serve_sends_reasoning_in_a_field_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    made = server.Server(run, ["mine"], None)
    asked: list[str] = []

    def stream(context: list[int], most: int, show: Any, stop: Any, **sampling: Any) -> tuple[bool, int]:
        asked.append(made.models.tokenizer.decode(context))
        for start in range(0, len(TEXT), 4):
            show(TEXT[start : start + 4])
        return True, 9

    monkeypatch.setattr(made.engine, "stream", stream)
    with TestClient(server.application(made)) as client:
        whole = client.post("/v1/chat/completions", json=ASK).json()["choices"][0]["message"]
        text = client.post("/v1/chat/completions", json={**ASK, "stream": True}).text
        turns = [*ASK["messages"], {"role": "assistant", "content": TEXT}, *ASK["messages"]]
        client.post("/v1/chat/completions", json={**ASK, "messages": turns})
    assert (whole["content"], whole["reasoning_content"]) == (ANSWER, THOUGHT)
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line][:-1]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    for field in ("content", "reasoning_content"):
        assert "".join(delta.get(field, "") for delta in deltas).strip() == whole[field]
    assert asked[0].endswith("<|im_start|>assistant\n")
    assert THOUGHT not in asked[2] and ANSWER in asked[2], "earlier reasoning is left out"


@pytest.mark.slow
def test_predict_writes_reasoning_into_a_column(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(script: str, words: list[str], console: Console, log: Path, events: Path, **rest: Any) -> None:
        log.touch()
        folder, data, out = map(Path, words)
        predict_worker.answer_rows(Run(folder), data, out, events)

    ids = tiny.tokenizer()(TEXT, add_special_tokens=False)["input_ids"]
    engine = SimpleNamespace(
        end=2,
        generate=lambda contexts, *_: [SimpleNamespace(ids=ids, stopped=True) for _ in contexts],
        score=lambda contexts, *_: [0.0 for _ in contexts],
    )
    monkeypatch.setattr(predictions, "follow", answer)
    monkeypatch.setattr(predict_worker.Models, "open", lambda *_: engine)
    data = tmp_path / "new.jsonl"
    turns = [{"role": "user", "content": "Where is my clock?"}]
    data.write_text(json.dumps({"member": "Ada", "hearth": "Fen", "turns": turns}) + "\n")
    assert predict(str(run.folder), data, tmp_path / "out.jsonl", Console(quiet=True)) == 0
    (row,) = read_jsonl(tmp_path / "out.jsonl")
    assert (row["predicted"], row["predicted_reasoning"]) == (ANSWER, THOUGHT)
