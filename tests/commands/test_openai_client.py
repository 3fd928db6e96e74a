"""`tunebook serve` as programs use it: the openai client over a real connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.commands.test_predict import finished
from tests.support import tiny

pytestmark = pytest.mark.slow
QUESTION: Any = [{"role": "user", "content": "Where is my clock?"}]
LENGTH = 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """The address of a served run that needs a key, and the server behind it."""
    import uvicorn

    from tunebook.commands.after.server import Server, application

    folder = tmp_path_factory.mktemp("served")
    run = finished(folder, tiny.save(folder / "model"))
    (run / "data").mkdir()
    for split in ("train", "dev", "test"):
        (run / "data" / f"{split}.jsonl").write_text("")
    behind = Server(run, ["mine"], "secret")
    server = uvicorn.Server(uvicorn.Config(application(behind), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1", behind
    server.should_exit = True
    thread.join()


def client(served: tuple[str, Any], key: str = "secret") -> Any:
    from openai import OpenAI

    return OpenAI(base_url=served[0], api_key=key, max_retries=0)


def answer(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "mine", "messages": QUESTION, "max_tokens": LENGTH, **more}
    )


def test_an_answer_and_its_stream(served: tuple[str, Any]) -> None:
    mine = client(served)
    assert [one.id for one in mine.models.list()] == ["mine"]
    whole = answer(mine)
    assert whole.choices[0].message.content
    # generated tokens, not those of the text: a cut letter alone would have several
    assert 0 < whole.usage.completion_tokens <= LENGTH
    if whole.choices[0].finish_reason == "length":
        assert whole.usage.completion_tokens == LENGTH
    pieces = list(answer(mine, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text.strip() == whole.choices[0].message.content
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_an_answer_ends_before_a_stop(served: tuple[str, Any]) -> None:
    mine = client(served)
    whole = answer(mine).choices[0].message.content
    stop = whole[len(whole) // 2 :][:2]
    cut = answer(mine, stop=[stop]).choices[0]
    assert cut.finish_reason == "stop"
    assert cut.message.content == whole[: whole.index(stop)].strip()


def test_parallel_clients_get_the_answers_of_one(served: tuple[str, Any]) -> None:
    questions = [[{"role": "user", "content": f"Where is clock {number}?"}] for number in range(8)]
    mine = client(served)
    alone = [answer(mine, messages=one).choices[0].message.content for one in questions]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda one: answer(client(served), messages=one), questions)
        assert [one.choices[0].message.content for one in found] == alone
    assert len(set(alone)) > 1


def test_what_is_refused_arrives_as_the_clients_own_errors(served: tuple[str, Any]) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="other"):
        answer(client(served), model="other")
    with pytest.raises(openai.BadRequestError) as caught:
        answer(client(served), messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        answer(client(served, "wrong"))


def test_a_client_that_disconnects_holds_nobody_up(served: tuple[str, Any]) -> None:
    mine, behind = client(served), served[1]
    with answer(mine, stream=True, max_tokens=200) as pieces:
        next(pieces)
    assert answer(mine).choices[0].message.content
    deadline = time.monotonic() + 20
    while behind.busy.locked() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not behind.busy.locked()
