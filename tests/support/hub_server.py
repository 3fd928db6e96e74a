"""A stand-in of the Hub's HTTP interface on loopback: what is uploaded (large files by hash, commits), and
in tests/support/hub_files.py what is read."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from tests.support.hub_files import Library, Reading


class Hub(Library):
    """What the stand-in holds, and what it is told to do wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.private: dict[str, bool] = {}
        self.stored: dict[str, bytes] = {}  # large files by SHA-256
        self.uploads: list[str] = []
        self.break_after: int | None = None  # uploads of large files before the connection breaks
        self.delay = 0.0  # seconds that each large file takes
        self.conflict = False


def _handler(standin: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(Reading):
        hub: Hub = standin

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def do_PUT(self) -> None:
            name = self.path.removeprefix("/upload/")
            data = self.body()
            time.sleep(self.hub.delay)
            if self.hub.break_after is not None and len(self.hub.uploads) >= self.hub.break_after:
                self.close_connection = True
                self.connection.close()
                return
            assert hashlib.sha256(data).hexdigest() == name
            self.hub.stored[name] = data
            self.hub.uploads.append(name)
            self.answer({})

        def do_POST(self) -> None:
            data = self.body()
            if "/paths-info/" in self.path:
                self.read(data)
            elif self.headers.get("authorization") != f"Bearer {self.hub.token}":
                self.answer({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                self.create(json.loads(data))
            elif self.path == "/api/validate-yaml":
                found = yaml.safe_load(json.loads(data)["content"].split("---")[1])
                errors = [] if isinstance(found, dict) else [{"message": "no metadata"}]
                self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)
            elif "/preupload/" in self.path:
                files = json.loads(data)["files"]
                modes = [
                    {"path": one["path"], "uploadMode": "lfs" if large(one["path"]) else "regular"}
                    for one in files
                ]
                self.answer({"files": [{**one, "shouldIgnore": False} for one in modes]})
            elif self.path.endswith("/info/lfs/objects/batch"):
                self.answer(
                    {
                        "transfer": "basic",
                        "objects": [self.wanted(one) for one in json.loads(data)["objects"]],
                    }
                )
            elif "/commit/" in self.path:
                self.commit(data.decode())
            else:
                self.answer({"error": f"no such place: {self.path}"}, 404)

        def create(self, asked: dict[str, Any]) -> None:
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            url = f"{self.hub.endpoint}/{name}"
            if name in self.hub.repos:
                self.answer({"error": "exists", "url": url}, 409)
                return
            self.hub.repos[name], self.hub.private[name] = (
                {},
                asked.get("visibility") == "private" or bool(asked.get("private")),
            )
            self.answer({"url": url, "name": name})

        def wanted(self, one: dict[str, Any]) -> dict[str, Any]:
            if one["oid"] in self.hub.stored:
                return one
            return {
                **one,
                "actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{one['oid']}", "header": {}}},
            }

        def commit(self, text: str) -> None:
            if self.hub.conflict:
                self.answer({"error": "A commit has happened since."}, 412)
                return
            repo = self.hub.repos[self.path.removeprefix("/api/models/").partition("/commit/")[0]]
            for line in map(json.loads, text.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    repo[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    repo[value["path"]] = self.hub.stored[value["oid"]]
            self.answer(
                {"commitUrl": f"{self.hub.endpoint}/me/model/commit/abc", "commitOid": "abc", "success": True}
            )

    return Handler


def large(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf"))


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the stand-in, and end it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
