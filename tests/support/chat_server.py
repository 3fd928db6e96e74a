"""A small server on 127.0.0.1 that speaks OpenAI's chat completions, and misbehaves as it is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

Reply = tuple[int, dict[str, str], bytes]
DROP, CUT, SILENT = "drop", "cut", "silent"  # close at once, in the middle of a reply, after half a minute


def completion(text: Any, finish: str = "stop", **more: Any) -> Reply:
    """Return a good reply of 7 tokens to a prompt of 11."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    body = {"object": "chat.completion", "choices": [choice], "usage": usage, **more}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def status(code: int, text: str = "broken", **headers: str) -> Reply:
    return code, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode()


class ChatServer:
    """What arrives is in `bodies` and `keys`; `behave(number, body)` says what comes back. `models` are
    listed, where there are any."""

    def __init__(self, behave: Callable[[int, dict[str, Any]], Reply | str]) -> None:
        self.behave = behave
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.models: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two packets: 40 ms a request

            def do_GET(self) -> None:
                listed = json.dumps({"data": [{"id": name} for name in server.models]}).encode()
                self.send(200 if server.models else 404, {}, listed)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    number = len(server.bodies)
                    server.bodies.append(body)
                    server.keys.append(self.headers["Authorization"])
                    server.paths.append(self.path)
                reply = server.behave(number, body)
                if reply == SILENT:
                    server.closing.wait(30)
                if isinstance(reply, str):
                    self.close_connection = True
                    if reply == CUT:
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
                    return
                self.send(*reply)

            def send(self, code: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        """The last turn of each request, in the order of arrival."""
        return [body["messages"][-1]["content"] for body in self.bodies]


@contextmanager
def serve(behave: Callable[[int, dict[str, Any]], Reply | str]) -> Iterator[ChatServer]:
    """Serve while the block runs."""
    server = ChatServer(behave)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    here = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    try:
        with mock.patch.dict(os.environ, here):
            yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join(10)
