"""A stand-in of the Hub's HTTP interface on loopback: repositories, large files by hash, commits, errors."""

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

COMMIT = "abc" + 37 * "0"


class Hub:
    """What the stand-in holds, and what it is told to do wrong."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.stored: dict[str, bytes] = {}  # large files by SHA-256
        self.uploads: list[str] = []
        self.fetched: list[str] = []  # files that were asked for
        self.token = "hf_good"
        self.break_after: int | None = None  # uploads of large files before the connection breaks
        self.delay = 0.0  # seconds that each large file takes
        self.conflict = False
        self.endpoint = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def answer(self, value: Any, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            if status == 404 and self.path.startswith("/api/models/"):
                self.send_header("x-error-code", "RepoNotFound")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_HEAD(self) -> None:
            self.file()

        def file(self) -> bool:
            """Answer with a file, if the address is that of one."""
            name, found, rest = self.path.removeprefix("/").partition("/resolve/")
            data = hub.repos.get(name, {}).get(rest.partition("/")[2])
            if not found or data is None:
                if found or self.command == "HEAD":
                    self.answer({"error": "not found"}, 404)
                return bool(found)
            hub.fetched.append(rest.partition("/")[2])
            self.send_response(200)
            self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("x-repo-commit", COMMIT)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)
            return True

        def do_GET(self) -> None:
            if self.file():
                return
            name = self.path.removeprefix("/api/models/").partition("/revision/")[0]
            found = name in hub.repos
            files = [{"rfilename": file} for file in hub.repos.get(name, {})]
            value = {"id": name, "sha": COMMIT, "siblings": files} if found else {"error": "not found"}
            self.answer(value, 200 if found else 404)

        def do_PUT(self) -> None:
            name = self.path.removeprefix("/upload/")
            data = self.body()
            time.sleep(hub.delay)
            if hub.break_after is not None and len(hub.uploads) >= hub.break_after:
                self.close_connection = True
                self.connection.close()
                return
            assert hashlib.sha256(data).hexdigest() == name
            hub.stored[name] = data
            hub.uploads.append(name)
            self.answer({})

        def do_POST(self) -> None:
            data = self.body()
            if self.headers.get("authorization") != f"Bearer {hub.token}":
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
            url = f"{hub.endpoint}/{name}"
            if name in hub.repos:
                self.answer({"error": "exists", "url": url}, 409)
                return
            hub.repos[name], hub.private[name] = (
                {},
                asked.get("visibility") == "private" or bool(asked.get("private")),
            )
            self.answer({"url": url, "name": name})

        def wanted(self, one: dict[str, Any]) -> dict[str, Any]:
            if one["oid"] in hub.stored:
                return one
            return {
                **one,
                "actions": {"upload": {"href": f"{hub.endpoint}/upload/{one['oid']}", "header": {}}},
            }

        def commit(self, text: str) -> None:
            if hub.conflict:
                self.answer({"error": "A commit has happened since."}, 412)
                return
            repo = hub.repos[self.path.removeprefix("/api/models/").partition("/commit/")[0]]
            for line in map(json.loads, text.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    repo[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    repo[value["path"]] = hub.stored[value["oid"]]
            self.answer(
                {"commitUrl": f"{hub.endpoint}/me/model/commit/abc", "commitOid": "abc", "success": True}
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
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
