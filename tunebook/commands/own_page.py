"""Access control for pages that Tunebook serves on this machine: ASGI middleware.

Browsers send requests to 127.0.0.1 from any open page, and any user of the machine can connect. So a request
must name this machine as its host (a rebound DNS name does not), must not come from another page, and must
have the secret in the printed address, which is then kept in a cookie.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Any port, because `ssh -L` may forward the page to another one.
NAMES = ("127.0.0.1", "localhost", "[::1]")
NEEDS = "Open the full address shown in the terminal; it ends with a secret for this session.\n"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # with no-referrer, browsers send `Origin: null` for the page's own forms
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class OwnPage:
    """Passes on to `app` only requests from its own page, opened with the address that contains `token`."""

    def __init__(self, app: App) -> None:
        self.app, self.token = app, secrets.token_urlsafe(32)
        # another such server on this machine has a different cookie
        self.cookie = f"tunebook-{secrets.token_hex(4)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if scope["type"] != "http" or not own_host(headers):
            return await _answer(send, 421, "This server only answers requests for 127.0.0.1.\n")
        if not own_origin(headers):
            return await _answer(send, 403, "Requests from other pages are not allowed.\n")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] == "GET" and self._is_token(given):
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"
            return await _answer(send, 303, "", {"Location": "/", "Set-Cookie": cookie})
        if not self._is_token(self._kept(headers)):
            return await _answer(send, 401, NEEDS)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_raw(HEADERS)]
            await send(message)

        await self.app(scope, receive, guarded)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def _kept(self, headers: dict[str, str]) -> str:
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == self.cookie), "")


def own_host(headers: dict[str, str]) -> bool:
    """Return whether a request's Host is a name of this machine, with any port."""
    host = headers.get("host", "")
    name, _, port = host.rpartition(":")
    return host in NAMES or (name in NAMES and port.isascii() and port.isdecimal())


def own_origin(headers: dict[str, str]) -> bool:
    """Return whether a request comes from the page itself, from no page, or from a program, according to
    Origin and, except for typed addresses, Sec-Fetch-Site. Opening the page through a link is allowed."""
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{headers.get('host')}":
        return False
    opened = headers.get("sec-fetch-mode") == "navigate" and origin is None
    return opened or headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def _answer(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    more = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
    raw = _raw({**HEADERS, **more, **(headers or {})})
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": text.encode()})
