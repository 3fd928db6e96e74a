"""The client of an endpoint, against a local server that speaks the protocol and misbehaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.chat_server import CUT, DROP, SILENT, ChatServer, Reply, completion, serve, status
from tunebook.core.errors import InputError, MachineError
from tunebook.evaluation.endpoint.client import (
    TRIES,
    Client,
    RowError,
    Settings,
    from_environment,
    retry_after,
)

KEY = "planted-key-0123456789"
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the kiln?"}]


def settings(server: ChatServer, **other: object) -> Settings:
    values = {"address": server.address, "model": "small", "key": KEY, "first_wait": 0.001, "timeout": 20}
    return Settings.model_validate(values | other)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no client wait; return the seconds it would have waited."""
    waits: list[float] = []

    def sleep(self: Client, seconds: float) -> None:
        if seconds > 0:
            waits.append(seconds)

    monkeypatch.setattr(Client, "_sleep", sleep)
    return waits


def by_number(*replies: Reply | str) -> Callable[[int, dict], Reply | str]:
    """Answer the nth request with the nth reply, further ones with the last."""
    return lambda number, body: replies[min(number, len(replies) - 1)]


# The protocol


def test_asks_greedily_with_the_key_in_the_header() -> None:
    with serve(by_number(completion("In the yard.", finish="length"))) as server:
        reply = Client(settings(server, max_tokens=9, seed=3)).ask(ASK)
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == [f"Bearer {KEY}"]
    assert server.bodies == [
        {"model": "small", "messages": ASK, "temperature": 0, "seed": 3, "max_tokens": 9}
    ]
    assert reply.pop("seconds") >= 0
    assert reply == {"text": "In the yard.", "stopped": False, "tokens_in": 11, "tokens_out": 7, "retries": 0}


def test_without_a_key_no_header_is_sent() -> None:
    with serve(by_number(completion("Yes."))) as server:
        assert Client(settings(server, key=None)).ask(ASK)["stopped"] is True
    assert server.keys == [None]


def test_a_server_that_counts_no_tokens() -> None:
    with serve(by_number(completion("Yes.", usage=None))) as server:
        reply = Client(settings(server)).ask(ASK)
    assert (reply["tokens_in"], reply["tokens_out"]) == (None, None)


# Repetition


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 529])
def test_twice_an_error_then_good(code: int, slept: list[float]) -> None:
    with serve(by_number(status(code), status(code), completion("Yes."))) as server:
        reply = Client(settings(server, first_wait=8)).ask(ASK)
    assert (reply["text"], reply["retries"], len(server.bodies)) == ("Yes.", 2, 3)
    first, second = slept
    assert 4 <= first <= 8 <= second <= 16, "doubled, with jitter"


def test_retry_after_holds_every_thread(slept: list[float]) -> None:
    with serve(by_number(status(429, Retry_After="200"), completion("Yes."))) as server:
        client = Client(settings(server))
        assert client.ask(ASK)["retries"] == 1
        client.ask(ASK)
    # What another request waits for as well; seconds that have passed meanwhile are taken off.
    assert len(slept) == 2
    assert all(100 < wait <= 200 for wait in slept)


def test_a_demand_for_a_long_pause_ends_it(slept: list[float]) -> None:
    with serve(by_number(status(429, Retry_After="3600"))) as server:
        with pytest.raises(MachineError, match="pause of 3600 s"):
            Client(settings(server)).ask(ASK)
    assert len(server.bodies) == 1
    assert not slept


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert retry_after(late) == pytest.approx(3600, abs=600)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DROP, CUT, SILENT])
def test_a_dropped_connection_and_silence_are_repeated(fault: str) -> None:
    with serve(by_number(fault, completion("Yes."))) as server:
        reply = Client(settings(server, timeout=1)).ask(ASK)
    assert reply["text"] == "Yes."
    assert reply["retries"] >= 1


def test_repetition_is_bounded(slept: list[float]) -> None:
    with serve(by_number(status(500, "out of order"))) as server:
        with pytest.raises(RowError, match="status 500: out of order") as error:
            Client(settings(server)).ask(ASK)
    assert len(server.bodies) == TRIES
    assert error.value.retries == TRIES - 1
    assert len(slept) == TRIES - 1


def test_requests_a_minute(slept: list[float]) -> None:
    with serve(by_number(completion("Yes."))) as server:
        client = Client(settings(server, per_minute=0.5))
        for _ in range(3):
            client.ask(ASK)
    # Every 120 s, so the third has to wait for at least 240 s less what has passed.
    assert len(slept) == 2
    assert slept[0] <= 120 < slept[1] <= 240


# What is no answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        status(200, ""),
        status(200, "<html>Welcome to the hotel network</html>"),
        status(200, '{"choices": [{"message": {"content": "half'),
        status(200, "[]"),
        status(200, "null"),
        status(200, "{}"),
        status(200, '{"choices": []}'),
        status(200, '{"choices": null}'),
        status(200, '{"choices": [{}]}'),
        status(200, '{"choices": [{"message": {"content": ["parts"]}}]}'),
        (200, {}, b"\xff\xfe\x00garbage"),
        completion(None),
        completion(""),
        completion(" \n"),
        completion("half a character \ud800"),
        status(400, "context too long"),
        status(302, "elsewhere", Location="http://elsewhere.invalid/"),
    ],
    ids=str,
)
def test_what_is_no_completion_is_that_rows_error(reply: Reply) -> None:
    with serve(by_number(reply)) as server, pytest.raises(RowError):
        Client(settings(server)).ask(ASK)
    assert len(server.bodies) == 1, "asking again would give the same"


@pytest.mark.parametrize("code", [401, 402, 403, 404])
def test_a_refusal_ends_it_at_once(code: int) -> None:
    with serve(by_number(status(code, "no such model"))) as server:
        with pytest.raises(InputError, match=f"answers {code}: no such model"):
            Client(settings(server)).ask(ASK)
    assert len(server.bodies) == 1


# The key


@pytest.mark.slow
@pytest.mark.parametrize("code", [200, 400, 401, 429, 500])
def test_the_key_is_in_no_message(code: int, slept: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    # Where the text is cut, half a key must not remain.
    for text in (f"wrong key Bearer {KEY}", "x" * 190 + KEY):
        with serve(by_number(status(code, text))) as server:
            with pytest.raises((RowError, InputError)) as error:
                Client(settings(server)).ask(ASK)
        assert server.keys[0] == f"Bearer {KEY}"
        assert KEY[:8] not in repr(error.value) + str(error.value)
    assert KEY not in caplog.text
    assert KEY not in repr(settings(server)) + str(settings(server).model_dump())


def test_the_key_is_in_no_answer_but_a_word_that_is_none_is_kept() -> None:
    with serve(by_number(completion(f"You sent {KEY}."))) as server:
        assert Client(settings(server)).ask(ASK)["text"] == "You sent [key]."
    with serve(by_number(completion("The jar is EMPTY."))) as server:
        assert Client(settings(server, key="EMPTY")).ask(ASK)["text"] == "The jar is EMPTY."


# The environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    for name in [name for name in os.environ if name.startswith("TUNEBOOK_ENDPOINT")]:
        monkeypatch.delenv(name)

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"TUNEBOOK_ENDPOINT{name}", value)

    return put


def test_no_endpoint_named(environment: Callable[..., None]) -> None:
    environment(_MODEL="small", _KEY=KEY)
    assert from_environment() is None


def test_everything_from_the_environment(environment: Callable[..., None]) -> None:
    environment(**{"": "https://api.example.com/v1/"}, _MODEL="small", _KEY=f"{KEY}\n", _PER_MINUTE="30")
    environment(_CONCURRENCY="2", _TIMEOUT="5.5", _PRICE_IN="0.15", _PRICE_OUT="0")
    found = from_environment()
    assert found and found.key and found.key.get_secret_value() == KEY
    assert found.address == "https://api.example.com/v1"
    assert (found.model, found.per_minute, found.concurrency, found.timeout) == ("small", 30, 2, 5.5)
    assert (found.price_in, found.price_out) == (0.15, 0)


def test_every_wrong_variable_is_named_at_once(environment: Callable[..., None]) -> None:
    environment(**{"": "https://me:hunter2hunter2@example.com/v1"}, _KEY=f"{KEY} {KEY}", _PER_MINUTE="0")
    environment(_CONCURRENCY="many", _PRICE_IN="-1")
    with pytest.raises(InputError) as error:
        from_environment()
    text = str(error.value)
    for name in ("", "_MODEL", "_KEY", "_PER_MINUTE", "_CONCURRENCY", "_PRICE_IN"):
        assert f"TUNEBOOK_ENDPOINT{name}: " in text
    assert "'many'" in text
    assert KEY not in text and "hunter2" not in text


@pytest.mark.parametrize(
    "address", ["api.example.com/v1", "ftp://example.com", "https://", "http://x/v1?a=1"]
)
def test_an_address_that_is_none(address: str, environment: Callable[..., None]) -> None:
    environment(**{"": address}, _MODEL="small")
    with pytest.raises(InputError, match="TUNEBOOK_ENDPOINT: must be like https"):
        from_environment()
