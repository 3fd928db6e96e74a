"""The endpoint of `tunebook serve`, asked in process, with a model that writes what it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_predict import finished
from tests.support import tiny
from tunebook.commands.after import export, serve
from tunebook.core.errors import InputError, MachineError

NAMES = ["mine", "mine@0123456789"]
ASK = {"model": "mine", "messages": [{"role": "user", "content": "Where is my clock?"}]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from fastapi.testclient import TestClient

    from tunebook.commands.after.server import Server, application

    folder = tmp_path_factory.mktemp("served")
    model = tiny.save(folder / "model")
    run = finished(folder, model)
    (run / "data").mkdir()
    for split in ("train", "dev", "test"):
        (run / "data" / f"{split}.jsonl").write_text("")
    with TestClient(application(Server(run, NAMES, None))) as client:
        yield client


def error(response: Any) -> str:
    return str(response.json()["error"]["code"])


def test_models_and_an_answer(client: Any) -> None:
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == NAMES
    found = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 5}).json()
    assert found["object"] == "chat.completion" and found["choices"][0]["message"]["role"] == "assistant"
    assert found["choices"][0]["finish_reason"] in ("stop", "length")
    assert (
        found["usage"]["total_tokens"]
        == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"]
    )


def test_a_stream_is_the_same_answer(client: Any) -> None:
    whole = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 5}).json()
    text = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 5, "stream": True}).text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    streamed = "".join(one["delta"].get("content", "") for one in choices)
    assert streamed.strip() == whole["choices"][0]["message"]["content"]
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"n": 2}, 400, "unsupported_parameter"),
        ({"logprobs": True}, 400, "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter"),
        ({"messages": "hello"}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400, "context_length_exceeded"),
    ],
)
def test_what_it_does_not_do_is_refused(client: Any, change: Any, status: int, code: str) -> None:
    response = client.post("/v1/chat/completions", json={**ASK, **change})
    assert (response.status_code, error(response)) == (status, code)


def test_a_body_that_is_no_json(client: Any) -> None:
    assert error(client.post("/v1/chat/completions", content="{")) == "bad_request"


def test_labels_with_probabilities(client: Any) -> None:
    found = client.post("/v1/classify", json={"input": ["A door.", {"text": "A clock."}]}).json()["data"]
    assert len(found) == 2
    assert all(0 < one["second_probability"] <= one["probability"] <= 1 for one in found)
    assert error(client.post("/v1/classify", json={"input": {"topic": "x"}})) == "bad_row"


def test_a_key_is_asked_for() -> None:
    from starlette.requests import Request

    from tunebook.commands.after.server import Refused, Server

    server = Server.__new__(Server)
    server.key = "secret"
    for value in (b"", b"Bearer other", b"secret2"):
        with pytest.raises(Refused) as caught:
            server.admit(Request({"type": "http", "headers": [(b"authorization", value)]}))
        assert caught.value.status == 401
    server.admit(Request({"type": "http", "headers": [(b"authorization", b"Bearer secret")]}))


def test_a_client_that_goes_away_ends_the_answer() -> None:
    from tunebook.commands.after.server import ChatRequest, Server

    server, ended = Server.__new__(Server), threading.Event()

    def written(context: Any, most: int, asked: Any, show: Any, stop: threading.Event) -> str:
        show("a")
        assert stop.wait(20)
        ended.set()
        return "stop"

    server.written = written  # type: ignore[method-assign]

    async def go() -> None:
        server.busy = asyncio.Lock()
        pieces = server.pieces([1], 5, ChatRequest(**ASK))
        assert await anext(pieces) == "a"
        await pieces.aclose()  # type: ignore[attr-defined]
        assert not server.busy.locked()

    asyncio.run(go())
    assert ended.is_set()


@pytest.mark.parametrize(
    ("stops", "shown", "reached"),
    [
        ([], "a_b|c", False),
        (["_"], "a", True),
        (["b|"], "a_", True),
        (["|x"], "a_b|c", False),
        (["_b|c"], "a", True),
    ],
)
def test_an_answer_ends_before_its_stop(stops: list[str], shown: str, reached: bool) -> None:
    from tunebook.commands.after.server import Until

    text: list[str] = []
    until = Until(stops, text.append)
    for piece in "a_b|c":
        until.take(piece)
    until.finish()
    assert ("".join(text), until.reached) == (shown, reached)


def test_another_address_needs_a_key(tmp_path: Path) -> None:
    run = finished(tmp_path, tmp_path)
    with pytest.raises(InputError) as caught:
        serve.serve_command(str(run.folder), "transformers", "0.0.0.0", 0, "q8_0")
    assert caught.value.code == "serve.key_needed"


def test_a_port_in_use_is_named() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MachineError) as caught:
            serve.free_port("127.0.0.1", taken.getsockname()[1])
    assert caught.value.code == "serve.port_in_use"


@pytest.mark.parametrize(
    ("text", "engine", "code"),
    [
        ("q8_0", "transformers", "option.quant_needs_gguf"),
        ("q8_0,q4_k_m", "llamacpp", "option.quant_of_weights"),
        ("lora", "llamacpp", "option.quant_of_weights"),
        (",", "llamacpp", "option.unknown_quant"),
    ],
)
def test_a_type_that_would_not_be_served_is_refused(text: str, engine: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        serve.one_quant(text, engine)
    assert caught.value.code == code
    assert serve.one_quant(None, "transformers") == serve.one_quant("Q8_0", "llamacpp") == "q8_0"


@pytest.mark.parametrize(
    ("to", "quant", "code"),
    [
        ("safetensors", "q8_0", "option.quant_needs_gguf"),
        ("ollama", "lora", "option.quant_of_weights"),
        ("gguf", "q9", "option.unknown_quant"),
    ],
)
def test_a_type_that_export_would_not_write_is_refused(
    to: Any, quant: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find", lambda *_: finished(tmp_path, tmp_path))
    with pytest.raises(InputError) as caught:
        export.export_command("mine", to, quant)
    assert caught.value.code == code
