"""`tunebook review`: compare two answers side by side in the browser, without knowing whose they are.

Every vote is on disk before the next pair is shown, so that a review can be resumed. The votes are counted in
tunebook/evaluation/pairs.py and shown in the report.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import parse_qs

import typer
import uvicorn
from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.commands.own_page import OwnPage
from tunebook.core import files
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import write_json
from tunebook.core.paths import show
from tunebook.evaluation.pairs import Pair, agreement_in_words, in_words, pairs, review_summary, votes_of_each
from tunebook.report.report import write_report
from tunebook.runs.run import Run, find

# The possible votes: the choice, its key, its button.
CHOICES = (("first", "1", "A is better"), ("tie", "0", "No difference"), ("second", "2", "B is better"))
KEYS = """document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button) { event.preventDefault(); button.click(); }
});
"""
PORT = 7860  # used if free: a fixed port can be kept open with `ssh -L`
NAME = re.compile(r"[\w.-]{0,40}")  # of a reviewer; it appears in the report
LONGEST = 4096  # maximum size of a form in bytes


class Reading:
    """The pairs of a run and a reviewer's votes on them. Which answer is whose never leaves this process."""

    def __init__(self, run: Run, reviewer: str = "") -> None:
        self.run, self.reviewer = run, reviewer
        self.pairs, self.same = pairs(run)
        self.finished = threading.Event()
        self._template = Environment(
            loader=PackageLoader("tunebook.commands", "templates"),
            autoescape=select_autoescape(["html.jinja"]),
            trim_blocks=True,
        ).get_template("review.html.jinja")

    def read(self) -> int:
        """Return how many pairs have the reviewer's vote."""
        cast = self._votes()
        return sum(pair.key in cast for pair in self.pairs)

    def _votes(self) -> dict[str, str]:
        return votes_of_each(self.run).get(self.reviewer, {})

    def unread(self) -> Pair | None:
        """Return the first pair without the reviewer's vote, or None if all have one."""
        cast = self._votes()
        return next((pair for pair in self.pairs if pair.key not in cast), None)

    def vote(self, key: str, choice: str) -> Pair | None:
        """Record `choice` for the pair on the reader's screen and return the next pair. A second click before
        the next pair is shown repeats the vote and cannot affect an unread pair."""
        pair = next((pair for pair in self.pairs if pair.key == key), None)
        if pair:
            vote = {"key": key, "id": pair.id, "choice": choice, "tuned_first": pair.tuned_first}
            vote |= {"outcome": pair.outcome(choice), "time": round(time.time())}
            if self.reviewer:
                vote["reviewer"] = self.reviewer
            files.append_record(self.run / "review" / "votes.jsonl", vote)
        return self.unread()

    def before(self, key: str) -> Pair | None:
        """Return the pair before the one on the screen, to vote on it again; for the first pair, return the
        pair itself."""
        keys = [pair.key for pair in self.pairs]
        place = keys.index(key) if key in keys else len(keys)
        return self.pairs[max(0, place - 1)]

    def shown(self, pair: Pair | None) -> str:
        """Return the page for `pair`; None means that every pair has been read."""
        counts = {"read": self.read(), "total": len(self.pairs), "same": self.same}
        state = {"finished": self.finished.is_set(), "reviewer": self.reviewer}
        return self._template.render(pair=pair, choices=CHOICES, **state, **counts)

    def act(self, key: str, act: str) -> Pair | None:
        """Perform the action of a button while the pair `key` is on the screen; return the next pair.

        Raises:
            ValueError: there is no such button.
        """
        if act == "finish":
            self.finished.set()
            return None
        if act == "back":
            return self.before(key)
        if act not in {choice for choice, _, _ in CHOICES}:
            raise ValueError(act)
        return self.vote(key, act)


def page(reading: Reading) -> OwnPage:
    """Return the page as an ASGI application; every button submits one form."""

    async def show_next(_: Request) -> Response:
        return HTMLResponse(reading.shown(reading.unread()))

    async def act(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                return PlainTextResponse("too long\n", 413)
        form = parse_qs(body.decode("utf-8", "replace"))
        try:
            pair = reading.act(form.get("pair", [""])[0], form.get("act", [""])[0])
        except ValueError:
            return PlainTextResponse("no such button\n", 400)
        return HTMLResponse(reading.shown(pair))

    async def keys(_: Request) -> Response:
        return Response(KEYS, media_type="text/javascript")

    routes = [Route("/", show_next), Route("/", act, methods=["POST"]), Route("/keys.js", keys)]
    return OwnPage(Starlette(routes=routes))


def review(name: str, console: Console, reviewer: str = "") -> int:
    """Serve the pairs of a finished run on 127.0.0.1 until the reader finishes; then write
    review/summary.json and the report. Return the exit code. `reviewer` names whose votes these are.

    Raises:
        InputError: no such run, the run has not finished, no two answers differ, or the name is no name.
        MachineError: another process uses the run folder.
    """
    run = find(name, "report")
    if not NAME.fullmatch(reviewer):
        text = (
            f"REVIEWER (--reviewer): expected a name of at most 40 letters, digits, . _ - (got {reviewer!r})."
        )
        raise InputError(text, code="run.reviewer")
    reading = Reading(run, reviewer)
    if not reading.pairs:
        raise InputError(
            f"RUN: {show(run.folder)}: both models gave the same answer to every row.",
            code="run.same_answers",
        )
    with run.locked():
        _serve(reading, console)
        counted = review_summary(run)
        if counted:
            write_json(run / "review" / "summary.json", counted)
            console.stage("review", f"{in_words(counted)}.")
            for two in counted["agreement"]:
                console.note(f"{agreement_in_words(two)}.")
            console.note(f"added to the report: {show(write_report(run))}")
        else:
            console.stage("review", "no pair was read")
    return GOOD


@contextmanager
def served(reading: Reading) -> Iterator[str]:
    """Serve the page from a thread while the context is open; yield its address including the secret."""
    own = page(reading)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", PORT))
        except OSError:
            one.bind(("127.0.0.1", 0))
        one.listen()
        server = uvicorn.Server(uvicorn.Config(own, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, args=([one],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{one.getsockname()[1]}/?token={own.token}"
        finally:
            server.should_exit = True
            thread.join(5)


def _serve(reading: Reading, console: Console) -> None:
    with served(reading) as address:
        console.stage("review", f"{address} ({reading.read()} of {len(reading.pairs)} pairs are read)")
        console.note(
            "1: A is better, 2: B is better, 0: no difference. Press Finish, or Ctrl-C here, to stop."
        )
        try:
            reading.finished.wait()
            time.sleep(1)  # the last page has yet to be delivered
        except KeyboardInterrupt:
            pass


def review_command(
    run: RunName,
    reviewer: Annotated[
        str,
        typer.Option(help="whose votes these are: two reviewers read the same pairs"),
    ] = "",
) -> int:
    """Compare pairs of answers blind, in the browser.

    Resumes an unfinished review.
    """
    return review(run, command_console(), reviewer)
