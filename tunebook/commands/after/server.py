"""An OpenAI-compatible endpoint for a run's fine-tuned model with transformers; started by `tunebook serve`.

python -m tunebook.commands.after.server RUN HOST PORT NAME ..., with the key, if any, in TUNEBOOK_SERVE_KEY

Supports chat completions, streamed or not, and for a dataset with labels `POST /v1/classify`. Requests are
answered one at a time. Unsupported options are rejected, never ignored.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables

from tunebook.commands.after.requests import IGNORED, ChatRequest, Classify, Refused, Until, plain
from tunebook.core.environment import environment
from tunebook.core.errors import RowFault
from tunebook.core.files import Row
from tunebook.core.process import begin_worker
from tunebook.core.ranks import Ranks
from tunebook.data.dataset import Dataset
from tunebook.data.prompt import PromptEncoder
from tunebook.data.renderer import Renderer
from tunebook.data.thinking.form import Apart
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.ranking import Ranked, label_choices, rank_labels
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.evaluation.inputs import load_inputs
from tunebook.models.shapes import USUAL_POSITIONS, positions
from tunebook.runs.rows import Messages
from tunebook.runs.run import Run


class End(NamedTuple):
    """The end of an answer: OpenAI's reason, and the tokens that were generated (none where labels are
    ranked)."""

    reason: str
    tokens: int

    def usage(self, prompt: int) -> dict[str, int]:
        """Return the numbers of tokens as OpenAI does; `prompt` is that of the prompt."""
        both = {"prompt_tokens": prompt, "completion_tokens": self.tokens}
        return {**both, "total_tokens": prompt + self.tokens}


class Server:
    """The fine-tuned model of a run, and the key that clients must send."""

    def __init__(self, run: Run, names: list[str], key: str | None) -> None:
        inputs = load_inputs(run)
        self.names, self.dataset, self.key = names, inputs.dataset, key
        self.models = Models(inputs.config, run / "model", Ranks())
        self.encoder = PromptEncoder.of(self.models.tokenizer, inputs.config)
        self.engine = self.models.open("tuned", engine=False)
        self.positions = positions(inputs.config) or USUAL_POSITIONS
        self.usual, self.started, self.busy = inputs.suite.max_new_tokens, int(time.time()), asyncio.Lock()

    def admit(self, request: Request) -> None:
        """Reject a request without the key."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refused(401, "invalid_api_key", "a key is needed: Authorization: Bearer KEY")

    def checked(self, asked: ChatRequest) -> tuple[list[int], int]:
        """Return the prompt's ids and the maximum number of tokens of its answer."""
        if asked.model not in self.names:
            there = " or ".join(map(repr, self.names))
            raise Refused(404, "model_not_found", f"no such model {asked.model!r}. Available: {there}.")
        extra = {name for name, value in (asked.model_extra or {}).items() if value not in (None, False, 0)}
        if asked.n != 1 or extra - IGNORED:
            names = ", ".join(sorted(extra - IGNORED)) or "n"
            raise Refused(400, "unsupported_parameter", f"this server does not support: {names}")
        try:
            tools = json.dumps(asked.tools) if asked.tools else None
            turns = self.encoder.as_said(cast(Messages, [*map(plain, asked.messages)]))
            context = self.encoder.context(turns, tools)
        except Refused:
            raise
        except Exception as error:
            raise Refused(
                400, "invalid_messages", f"the chat template rejects the messages: {error}"
            ) from error
        most = asked.max_completion_tokens or asked.max_tokens or max(self.usual, 512)
        if len(context) >= self.positions:
            text = f"the prompt has {len(context)} tokens, but the model has only {self.positions} positions."
            raise Refused(400, "context_length_exceeded", text)
        return context, min(most, self.positions - len(context))

    def written(
        self,
        context: list[int],
        most: int,
        asked: ChatRequest,
        show: Callable[[str], None],
        stop: threading.Event,
    ) -> End:
        """Generate the answer in this thread."""
        if isinstance(self.engine, TokenLM):
            sampling = {"temperature": asked.temperature, "top_p": asked.top_p} if asked.temperature else {}
            if sampling and asked.seed is not None:
                torch.manual_seed(asked.seed)
            stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
            until = Until(stops, show)
            done, tokens = self.engine.stream(
                context, most, until.take, lambda: stop.is_set() or until.reached, **sampling
            )
            until.finish()
            return End("stop" if done or until.reached else "length", tokens)
        show(rank_labels(self.engine, True, [context], self.dataset.labels, [])[0].label)
        return End("stop", 0)

    async def pieces(self, context: list[int], most: int, asked: ChatRequest) -> AsyncIterator[str | End]:
        """Yield the pieces of an answer, then its end. A client that disconnects
        stops the answer."""
        loop, queue, stop = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event()

        def put(value: Any) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, value)

        def work() -> None:
            try:
                put(self.written(context, most, asked, put, stop))
            except Exception as error:
                put(error)

        async with self.busy:
            thread = loop.run_in_executor(None, work)
            try:
                while True:
                    value = await queue.get()
                    if isinstance(value, Exception):
                        raise value
                    yield value
                    if isinstance(value, End):
                        return
            finally:
                stop.set()
                await asyncio.shield(thread)

    def classify(self, inputs: list[str | Row]) -> list[Ranked]:
        """Return label, probability and runner-up for each text or row."""
        renderer, names = Renderer(self.dataset), prompt_fields(self.dataset)
        if len(names) != 1 and any(isinstance(value, str) for value in inputs):
            raise Refused(400, "fields_needed", f"give objects with the fields {', '.join(names)}.")
        try:
            rows = [{names[0]: value} if isinstance(value, str) else value for value in inputs]
            turns = [renderer.question(row) for row in rows]
        except RowFault as error:
            raise Refused(400, "bad_row", f"{error.field}: {error}") from None
        contexts = [self.encoder.direct(one) for one in turns]
        answers = [] if self.models.head else label_choices(self.dataset, self.encoder, turns[0])
        return rank_labels(self.engine, self.models.head, contexts, self.dataset.labels, answers)


def prompt_fields(dataset: Dataset) -> list[str]:
    """Return the fields of a row that occur in the prompt of `dataset`, in alphabetical order."""
    return sorted(find_undeclared_variables(Environment().parse(dataset.prompt or "")))


def application(server: Server) -> FastAPI:
    """Return the endpoint as an ASGI application."""
    app = FastAPI(title="Tunebook", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        body = {"message": str(error), "type": "invalid_request_error", "code": error.code, "param": None}
        return JSONResponse({"error": body}, error.status)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        text = f"{where}: {first['msg']}" if where else f"the body must be a JSON object: {first['msg']}"
        body = {"message": text, "type": "invalid_request_error", "code": "bad_request", "param": None}
        return JSONResponse({"error": body}, 400)

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        server.admit(request)
        one = {"object": "model", "created": server.started, "owned_by": "tunebook"}
        return {"object": "list", "data": [{"id": name, **one} for name in server.names]}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(asked: ChatRequest, request: Request) -> JSONResponse | StreamingResponse:
        server.admit(request)
        context, most = server.checked(asked)
        frame = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
        if asked.stream:
            counted = len(context) if asked.stream_options.include_usage else None
            apart = Apart(server.encoder.form) if server.encoder.shows_reasoning else None
            body = _events(server.pieces(context, most, asked), frame, counted, apart)
            return StreamingResponse(body, media_type="text/event-stream")
        text, end = "", End("stop", 0)
        async for piece in server.pieces(context, most, asked):
            if isinstance(piece, End):
                end = piece
            elif await request.is_disconnected():
                break
            else:
                text += piece
        answer = {"role": "assistant", "content": text.strip()}
        if server.encoder.shows_reasoning:
            said = server.encoder.form.said(text)
            answer |= {"content": said.answer, "reasoning_content": said.thought}
        choice = {"index": 0, "message": answer, "finish_reason": end.reason, "logprobs": None}
        found = {"choices": [choice], "usage": end.usage(len(context))}
        return JSONResponse({**frame, "object": "chat.completion", **found})

    @app.post("/v1/classify")
    async def classify(asked: Classify, request: Request) -> dict[str, Any]:
        server.admit(request)
        if not server.dataset.labels:
            raise Refused(404, "no_labels", "this model was not trained on labels.")
        inputs = asked.input if isinstance(asked.input, list) else [asked.input]
        async with server.busy:
            found = await asyncio.get_running_loop().run_in_executor(None, server.classify, inputs)
        return {"object": "list", "model": server.names[0], "data": [asdict(one) for one in found]}

    return app


async def _events(
    pieces: AsyncIterator[str | End],
    frame: dict[str, Any],
    prompt_tokens: int | None,
    apart: Apart | None = None,
) -> AsyncIterator[str]:
    """Yield an answer as server-sent events, as OpenAI does; with `prompt_tokens`, the numbers of tokens at
    the end; with `apart`, its reasoning as `reasoning_content`."""
    frame, end = {**frame, "object": "chat.completion.chunk"}, End("stop", 0)

    def event(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n"

    yield event({"role": "assistant", "content": ""})
    async for piece in pieces:
        if apart:
            for part, some in apart.finish() if isinstance(piece, End) else apart.take(piece):
                yield event({part: some})
        elif isinstance(piece, str):
            yield event({"content": piece})
        if isinstance(piece, End):
            end = piece
            yield event({}, end.reason)
    if prompt_tokens is not None:
        yield f"data: {json.dumps({**frame, 'choices': [], 'usage': end.usage(prompt_tokens)})}\n\n"
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    begin_worker()
    folder, host, port, *names = sys.argv[1:]
    secret = environment().serve_key
    served = Server(Run(Path(folder)), names, secret.get_secret_value() if secret else None)
    uvicorn.run(application(served), host=host, port=int(port), log_level="warning")
