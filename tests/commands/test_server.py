"""The endpoint of `tunebook serve`, asked in process, with a model that writes what it is told to."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.commands.test_predict import finished
from tests.support import tiny
from tunebook.commands.after import export, serve
from tunebook.core.console import Console
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


def test_a_stream_counts_its_tokens_where_asked(client: Any) -> None:
    ask = {**ASK, "max_tokens": 5}
    whole = client.post("/v1/chat/completions", json=ask).json()
    more = {"stream": True, "stream_options": {"include_usage": True}}
    text = client.post("/v1/chat/completions", json={**ask, **more}).text
    *_, last, done = (line.removeprefix("data: ") for line in text.splitlines() if line)
    assert done == "[DONE]"
    assert (json.loads(last)["choices"], json.loads(last)["usage"]) == ([], whole["usage"])


def test_parts_of_text_are_one_text(client: Any) -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my clock?"}]
    ask = {**ASK, "messages": [{"role": "user", "content": parts}], "max_tokens": 5}
    whole = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 5}).json()
    found = client.post("/v1/chat/completions", json=ask).json()
    assert (found["choices"], found["usage"]) == (whole["choices"], whole["usage"])


@pytest.mark.slow
def test_a_seed_repeats_a_sampled_answer(client: Any) -> None:
    def answer(seed: int) -> str:
        ask = {**ASK, "max_tokens": 5, "temperature": 1.0, "seed": seed}
        return str(client.post("/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"])

    assert answer(1) == answer(1) and len({answer(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"n": 2}, 400, "unsupported_parameter"),
        ({"logprobs": True}, 400, "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter"),
        ({"messages": "hello"}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "unsupported_content"),
        ({"stream_options": {"other": 1}}, 400, "bad_request"),
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

    from tunebook.commands.after.requests import Refused
    from tunebook.commands.after.server import Server

    server = Server.__new__(Server)
    server.key = "secret"
    for value in (b"", b"Bearer other", b"secret2"):
        with pytest.raises(Refused) as caught:
            server.admit(Request({"type": "http", "headers": [(b"authorization", value)]}))
        assert caught.value.status == 401
    server.admit(Request({"type": "http", "headers": [(b"authorization", b"Bearer secret")]}))


def test_a_client_that_goes_away_ends_the_answer() -> None:
    from tunebook.commands.after.requests import ChatRequest
    from tunebook.commands.after.server import End, Server

    server, ended = Server.__new__(Server), threading.Event()

    def written(context: Any, most: int, asked: Any, show: Any, stop: threading.Event) -> End:
        show("a")
        assert stop.wait(20)
        ended.set()
        return End("stop", 1)

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
    from tunebook.commands.after.requests import Until

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
    monkeypatch.setattr(export, "find_with_model", lambda *_: finished(tmp_path, tmp_path))
    with pytest.raises(InputError) as caught:
        export.export_command("mine", to, quant)
    assert caught.value.code == code


def test_the_command_of_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter on the very revision that it was trained on; full weights where vLLM takes no adapter."""
    run = finished(tmp_path, tiny.save(tmp_path / "tiny"))
    for name, value in (("TUNEBOOK_VLLM", sys.executable), ("TUNEBOOK_VLLM_ARGS", "--max-model-len 64")):
        monkeypatch.setenv(name, value)

    def words(**config: Any) -> str:
        (run / "config.yaml").write_text(yaml.safe_dump({"base_model": "owner/base", **config}))
        found = serve.command_of(run, "vllm", "127.0.0.1", 8000, "q8_0", Console())
        assert found.words[0] == sys.executable and found.names[0] == "mine"
        assert re.fullmatch("mine@[0-9a-f]{10}", found.names[1])
        return " ".join(found.words[1:]).replace(found.names[1], "EXACT")

    place = "--max-model-len 64 --host 127.0.0.1 --port 8000"
    folder = run / "model"
    assert words(adapter="lora", lora_r=12, revision_of_model="abc") == (
        f"serve owner/base --enable-lora --max-lora-rank 16 --lora-modules mine={folder} EXACT={folder} "
        f"--revision abc {place}"
    )
    assert words() == f"serve {folder} --served-model-name mine EXACT {place}"
    with pytest.raises(InputError) as caught:
        words(adapter="lora", lora_r=600)
    assert caught.value.code == "eval.vllm_cannot_serve"


def test_a_server_is_ready_when_it_answers(tmp_path: Path) -> None:
    """llama-server takes connections, and says 503, while it loads its model."""
    asked: list[str] = []

    class Loading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503 if len(asked) < 3 else 401)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Loading) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        child: Any = SimpleNamespace(poll=lambda: None)
        serve.wait_until_ready(child, f"http://127.0.0.1:{server.server_address[1]}/v1", tmp_path / "log")
        server.shutdown()
        thread.join()
    assert asked == ["/v1/models"] * 3
    ended: Any = SimpleNamespace(poll=lambda: 1, returncode=1)
    with pytest.raises(MachineError) as caught:
        serve.wait_until_ready(ended, "http://127.0.0.1:9/v1", tmp_path / "log")
    assert caught.value.code == "serve.ended"
