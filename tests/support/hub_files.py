"""The reading half of the Hub's stand-in: models and datasets, gates, revisions, and a network that fails."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 1 << 16


@dataclass
class Fault:
    """What goes wrong with requests whose method and address contain `part`, `times` times (None: always).

    `cut`: the connection is closed without an answer. `half`: it is closed in the middle of a file. `slow`:
    nothing comes for `seconds`. `busy`: 429, with `seconds` as Retry-After (None: without that header).
    `broken`: 503. `short`: the whole answer is half of the file, as from a proxy that has stored half of it.
    """

    kind: Literal["cut", "half", "slow", "busy", "broken", "short"]
    part: str = ""
    times: int | None = None
    seconds: float | None = None
    hits: int = 0

    def strikes(self, request: str) -> bool:
        """Count and return whether the fault hits `request`."""
        if self.part not in request or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass
class Library:
    """Repositories by name (datasets as `datasets/owner/name`), and how they are answered for."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)  # without the token: 401; with another one: 403
    tags: dict[str, set[str]] = field(default_factory=dict)  # revisions besides main and the commit
    faults: list[Fault] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)  # files that were asked for
    asked: list[str] = field(default_factory=list)  # every request: method and address
    token: str = "hf_good"
    endpoint: str = ""
    _commits: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def commit(self, name: str) -> str:
        """Return the commit of a repository, which follows from its files."""
        files = self.repos[name]
        key = tuple(sorted((file, id(data)) for file, data in files.items()))
        if name not in self._commits or self._commits[name][0] != key:
            sums = [f"{file} {hashlib.sha256(data).hexdigest()}" for file, data in sorted(files.items())]
            self._commits[name] = (key, hashlib.sha1("\n".join([name, *sums]).encode()).hexdigest())
        return self._commits[name][1]

    def knows(self, name: str, revision: str) -> bool:
        return revision in {"main", self.commit(name), *self.tags.get(name, ())}


class Reading(BaseHTTPRequestHandler):
    """Answers what the Hub's client asks for to read. `hub` is set by the subclass."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: 40 ms a request
    hub: Library

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str = "", **headers: str) -> None:
        self.answer({"error": code or status}, status, **({"x_error_code": code} if code else {}), **headers)

    def do_HEAD(self) -> None:
        self.read()

    def do_GET(self) -> None:
        self.read()

    def read(self, body: bytes = b"") -> None:
        """Answer a request that changes nothing."""
        request = f"{self.command} {unquote(self.path)}"
        self.hub.asked.append(request)
        fault = next((one for one in self.hub.faults if one.strikes(request)), None)
        if fault and fault.kind in ("cut", "busy", "broken"):
            if fault.kind == "cut":
                self.close_connection = True
                self.connection.close()
            elif fault.kind == "broken":
                self.refuse(503)
            else:
                self.refuse(429, **({} if fault.seconds is None else {"retry_after": str(fault.seconds)}))
            return
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds or 60)
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        if "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            self.file(name, *rest.partition("/")[::2], fault)
        elif path.startswith(("api/models/", "api/datasets/")):
            self.listing(path.removeprefix("api/").removeprefix("models/"), body)
        else:
            self.refuse(404)

    def found(self, name: str, revision: str, gate: bool = False) -> bool:
        """Return whether the asker may read this revision; if not, it has been answered. A gate is before
        files, not before what the Hub says of a repository."""
        if name not in self.hub.repos:
            self.refuse(404, "RepoNotFound")
        elif (
            gate
            and name in self.hub.gated
            and self.headers.get("authorization") != f"Bearer {self.hub.token}"
        ):
            self.refuse(403 if self.headers.get("authorization") else 401, "GatedRepo")
        elif not self.hub.knows(name, revision):
            self.refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def file(self, name: str, revision: str, file: str, fault: Fault | None) -> None:
        """Answer with a file, from where the asker has the rest."""
        if not self.found(name, revision, gate=True):
            return
        commit = self.hub.commit(name)
        data = self.hub.repos[name].get(file)
        if data is None:
            self.refuse(404, "EntryNotFound", x_repo_commit=commit)
            return
        self.hub.fetched.append(file)
        first = int((self.headers.get("range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        short = fault is not None and fault.kind == "short" and self.command == "GET"
        sent = data[first : len(data) // 2] if short else data[first:]
        self.send_response(206 if first else 200)
        self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("x-repo-commit", commit)
        self.send_header("accept-ranges", "bytes")
        if first:
            self.send_header("content-range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.kind == "half":
            self.wfile.write(sent[: len(sent) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        for start in range(0, len(sent), CHUNK):
            self.wfile.write(sent[start : start + CHUNK])

    def listing(self, path: str, body: bytes) -> None:
        """Answer for what a repository has: its facts, a folder of it, or some of its paths."""
        for kind in ("/revision/", "/tree/", "/paths-info/", ""):
            name, _, rest = path.partition(kind) if kind else (path, "", "main")
            if rest:
                break
        revision, _, folder = rest.partition("/")
        if not self.found(name, revision):
            return
        files = self.hub.repos[name]
        if kind == "/tree/":
            self.tree(name, folder, "recursive=true" in self.path.lower())
        elif kind == "/paths-info/":
            wanted = parse_qs(body.decode()).get("paths", [])
            folders = {str(part) for file in files for part in _parents(file)}
            entries = [self.entry(name, path) for path in wanted if path in files]
            entries += [{"type": "directory", "path": p, "oid": "0" * 40} for p in wanted if p in folders]
            self.answer(entries)
        else:
            siblings = [{"rfilename": file} for file in sorted(files)]
            facts = {"id": name.removeprefix("datasets/"), "sha": self.hub.commit(name), "siblings": siblings}
            self.answer({**facts, "private": False, "gated": name in self.hub.gated and "auto", "tags": []})

    def tree(self, name: str, folder: str, recursive: bool) -> None:
        """Answer with the files and folders below a folder, or right in it."""
        files = self.hub.repos[name]
        inside = sorted(file for file in files if not folder or file.startswith(f"{folder}/"))
        if not inside:
            self.refuse(404, "EntryNotFound")
            return
        depth = len(folder.split("/")) + 1 if folder else 1
        folders = sorted({part for file in inside for part in _parents(file) if part.count("/") + 1 >= depth})
        entries = [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
        entries += [self.entry(name, file) for file in inside]
        self.answer([one for one in entries if recursive or one["path"].count("/") + 1 == depth])

    def entry(self, name: str, file: str) -> dict[str, Any]:
        data = self.hub.repos[name][file]
        oid = hashlib.sha1(data).hexdigest()
        return {"type": "file", "path": file, "size": len(data), "oid": oid}


def _parents(file: str) -> list[str]:
    parts = file.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
