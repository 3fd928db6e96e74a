"""A client for OpenAI-compatible chat completions, with rate limits, retries and counts.

Address, model and key come from the environment (docs/endpoints.md). The key is put into the request header
only, and removed from everything that the server returns.
"""

from __future__ import annotations

import math
import os
import random
import re
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tunebook.core.errors import InputError, MachineError, Problem, raise_all
from tunebook.core.files import Record
from tunebook.data.prompt import Messages

PREFIX = "TUNEBOOK_ENDPOINT"
TRIES = 6
SHORTEST_SECRET = 8  # characters
LONGEST_BACKOFF, LONGEST_RETRY_AFTER = 60.0, 300.0  # seconds


class Settings(BaseModel):
    """Address and model of an endpoint, its limits and its prices."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    address: str
    model: str
    key: SecretStr | None = None
    per_minute: float | None = Field(None, gt=0)
    """Requests per minute; None: no limit."""
    concurrency: int = Field(4, ge=1, le=64)
    timeout: float = Field(120.0, gt=0)
    """Seconds without a byte from the server before a request fails."""
    price_in: float | None = Field(None, ge=0)
    """Dollars per million prompt tokens; `price_out` per million generated tokens."""
    price_out: float | None = Field(None, ge=0)
    prompt: Literal["baseline", "tuned"] = "baseline"
    """Which prompt to use: the dataset's prompt for untrained models (baseline), or, for a served run, the
    prompt it was trained with (tuned)."""
    max_tokens: int = 512
    seed: int = 0
    first_wait: float = 1.0
    """Seconds before the first retry, doubled for each further retry."""

    @field_validator("address")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("must be like https://api.example.com/v1, without /chat/completions")
        if "@" in parts.netloc:
            raise ValueError(f"must not contain a password; the key belongs in {PREFIX}_KEY")
        return value.rstrip("/")

    @field_validator("key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("contains a space or another character that is not allowed in a header")
        return value

    def hide_key(self, text: str) -> str:
        """Return `text` without the key."""
        key = self.key.get_secret_value() if self.key else ""
        # Local servers accept words such as "EMPTY" as a key; those may well be part of an answer.
        return text.replace(key, "[key]") if len(key) >= SHORTEST_SECRET else text


NAMES = {
    PREFIX: "address",
    f"{PREFIX}_MODEL": "model",
    f"{PREFIX}_KEY": "key",
    f"{PREFIX}_PER_MINUTE": "per_minute",
    f"{PREFIX}_CONCURRENCY": "concurrency",
    f"{PREFIX}_TIMEOUT": "timeout",
    f"{PREFIX}_PROMPT": "prompt",
    f"{PREFIX}_PRICE_IN": "price_in",
    f"{PREFIX}_PRICE_OUT": "price_out",
}


def from_environment() -> Settings | None:
    """Return the endpoint set in the environment, or None.

    Raises:
        InputError: variables are missing or invalid; lists all of them.
    """
    if not os.environ.get(PREFIX):
        return None
    given = {field: os.environ[name].strip() for name, field in NAMES.items() if os.environ.get(name)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        variable = {field: name for name, field in NAMES.items()}
        problems = []
        for item in error.errors(include_url=False, include_input=False):
            field = str(item["loc"][0])
            text = item["msg"].removeprefix("Value error, ")
            # Do not repeat the key, nor an address, which may contain a password.
            got = "" if field in ("key", "address") else f" (got {given.get(field)!r})"
            problems.append(Problem(f"{text}{got}.", key=variable[field], code="endpoint.bad_variable"))
        raise_all(problems)
        raise


class RowError(Exception):
    """A row has no answer, after `retries` retries."""

    def __init__(self, text: str, retries: int = 0) -> None:
        super().__init__(text)
        self.retries = retries


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Model(BaseModel):
    id: str
    aliases: list[str] = []
    """Further names, as llama-server lists them."""


class _Models(BaseModel):
    """The part of a list of models that is read."""

    data: list[_Model]


class _Completion(BaseModel):
    """The fields of a chat completion that are read."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def retry_after(value: str | None) -> float | None:
    """Return the seconds in a Retry-After header, which is a number or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value or "").timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


class Client:
    """Requests chat completions, each thread one at a time; greedy, with a fixed seed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        key = settings.key.get_secret_value() if settings.key else None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(timeout=settings.timeout, headers=headers)
        self.stop = threading.Event()
        self._lock, self._free_at = threading.Lock(), 0.0

    def _take_turn(self) -> None:
        """Wait until the next request may start, across all threads."""
        with self._lock:
            start = max(time.monotonic(), self._free_at)
            gap = 60 / self.settings.per_minute if self.settings.per_minute else 0.0
            self._free_at = start + gap
        self._sleep(start - time.monotonic())

    def _hold(self, seconds: float) -> None:
        """Keep all threads from starting a request for `seconds`."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(max(0.0, seconds)):
            raise RowError("stopped")

    def check_name(self) -> None:
        """Raise if the name does not identify the weights. `tunebook serve` also serves a model as NAME@hash,
        for exactly these weights. Answers are cached by name, so with NAME alone, answers of another file
        served on the same port would be reused.

        Raises:
            InputError: the server lists NAME@hash, but another name is given.
        """
        try:
            reply = self.http.get(f"{self.settings.address}/models")
            models = _Models.model_validate_json(reply.content).data
        except (httpx.HTTPError, ValidationError):
            return  # many servers list nothing; whether they answer is seen next
        own = self.settings.model.partition("@")[0]
        names = [name for one in models for name in (one.id, *one.aliases)]
        exact = [name for name in names if re.fullmatch(re.escape(own) + "@[0-9a-f]{10}", name)]
        if exact and self.settings.model not in exact:
            raise InputError(
                f"{PREFIX}_MODEL: {self.settings.address} serves {exact[0]} (got {self.settings.model}). "
                "Use that name: it stands for exactly these weights, so that cached answers of others are "
                "not reused.",
                code="endpoint.inexact_model",
            )

    def ask(self, messages: Messages) -> Record:
        """Return `{text, stopped, tokens_in, tokens_out, retries, seconds}` for one conversation.

        After status 429, server errors, timeouts and dropped connections, the request is retried with growing
        pauses, up to `TRIES` requests in total.

        Raises:
            RowError: there is no answer to this conversation.
            InputError: the endpoint rejects the key, the model or the address.
            MachineError: the endpoint requests a pause of more than five minutes.
        """
        settings = self.settings
        body = {"model": settings.model, "messages": messages, "temperature": 0, "seed": settings.seed}
        body["max_tokens"] = settings.max_tokens
        start, why = time.monotonic(), ""
        for retries in range(TRIES):
            self._take_turn()
            pause: float | None = None
            try:
                response = self.http.post(f"{settings.address}/chat/completions", json=body)
            except httpx.TransportError as error:
                why = f"{type(error).__name__}: {error}"
            except httpx.HTTPError as error:
                raise RowError(f"{type(error).__name__}: {error}", retries) from None
            else:
                if response.status_code not in (408, 429) and response.status_code < 500:
                    reply = self._read(response, retries)
                    return reply | {"retries": retries, "seconds": round(time.monotonic() - start, 2)}
                why = f"status {response.status_code}: {self._excerpt(response)}"
                pause = retry_after(response.headers.get("Retry-After"))
            if pause is not None and pause > LONGEST_RETRY_AFTER:
                raise MachineError(
                    f"{PREFIX}: {settings.address} requests a pause of {pause:.0f} s. Rerun the same "
                    "command after the pause; the answers so far are kept.",
                    code="endpoint.rate_limited",
                )
            if retries + 1 < TRIES:
                if pause is not None:
                    self._hold(pause)
                else:
                    wait = min(LONGEST_BACKOFF, settings.first_wait * 2**retries)
                    self._sleep(wait * random.uniform(0.5, 1))
        raise RowError(f"{why} ({TRIES} requests)", TRIES - 1)

    def _excerpt(self, response: httpx.Response) -> str:
        # Remove the key before truncating: half a key at the end would not be recognized.
        return " ".join(self.settings.hide_key(response.text).split())[:200] or "nothing"

    def _read(self, response: httpx.Response, retries: int) -> Record:
        if response.status_code in (401, 402, 403, 404):
            raise InputError(
                f"{PREFIX}: {self.settings.address} answers {response.status_code}: "
                f"{self._excerpt(response)}. Check {PREFIX}, {PREFIX}_MODEL and {PREFIX}_KEY.",
                code="endpoint.refused",
            )
        if response.status_code != 200:
            raise RowError(f"status {response.status_code}: {self._excerpt(response)}", retries)
        try:
            completion = _Completion.model_validate_json(response.content)
        except ValidationError:
            raise RowError(f"not a chat completion: {self._excerpt(response)}", retries) from None
        choice, usage = completion.choices[0], completion.usage or _Usage()
        text = self.settings.hide_key(choice.message.content or "").strip()
        if not text:
            raise RowError(f"an empty answer (finish_reason {choice.finish_reason})", retries)
        return {
            "text": text,
            "stopped": choice.finish_reason == "stop",
            "tokens_in": usage.prompt_tokens,
            "tokens_out": usage.completion_tokens,
        }
