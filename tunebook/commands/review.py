"""`tunebook review`: two answers side by side in the browser, which is better, read blind.

Every vote is on the disk before the next pair is shown, so that a review resumes where it was left. What
is preferred is counted in tunebook/evaluation/pairs.py and enters the report.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core import files
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import write_json
from tunebook.core.paths import cache_folder, show
from tunebook.evaluation.pairs import Pair, in_words, pairs, review_summary, votes
from tunebook.report.report import write_report
from tunebook.runs.run import Run, find

# What a reader may say: the choice, its key on the keyboard, its button.
CHOICES = (("first", "1", "A is better"), ("tie", "0", "No difference"), ("second", "2", "B is better"))
KEYS = """<script>
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const name = { "1": "first", "0": "tie", "2": "second", "Backspace": "back" }[event.key];
  if (name) { event.preventDefault(); document.querySelector(`button#${name}`)?.click(); }
});
document.addEventListener("click", (event) => event.target.closest("button") && scrollTo(0, 0));
</script>"""
# What Gradio's page fetches from hosts on the internet: fonts, and a script for pages inside others.
ELSEWHERE = re.compile(r'<(?:link|script)\s[^>]*"https://[^>]*>(?:\s*</script>)?')
Shown = tuple[str, str]


class Reading:
    """The pairs of a run and the votes on them. Which answer is whose never leaves this process."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pairs, self.same = pairs(run)
        self.finished = threading.Event()
        self._template = Environment(
            loader=PackageLoader("tunebook.commands", "templates"),
            autoescape=select_autoescape(["html.jinja"]),
            trim_blocks=True,
        ).get_template("review_pair.html.jinja")

    def read(self) -> int:
        """Return how many pairs have a vote."""
        cast = votes(self.run)
        return sum(pair.key in cast for pair in self.pairs)

    def unread(self) -> Pair | None:
        """Return the first pair without a vote, None when all are read."""
        cast = votes(self.run)
        return next((pair for pair in self.pairs if pair.key not in cast), None)

    def vote(self, key: str, choice: str) -> Pair | None:
        """Record `choice` on the pair on the reader's screen and return the next one to read. A second
        click that comes before the next pair is shown repeats the vote; it cannot reach an unread pair."""
        pair = next((pair for pair in self.pairs if pair.key == key), None)
        if pair:
            vote = {"key": key, "id": pair.id, "choice": choice, "tuned_first": pair.tuned_first}
            vote |= {"outcome": pair.outcome(choice), "time": round(time.time())}
            files.append_record(self.run / "review" / "votes.jsonl", vote)
        return self.unread()

    def before(self, key: str) -> Pair | None:
        """Return the pair before the one on the screen, to vote on it again; the first has none before."""
        keys = [pair.key for pair in self.pairs]
        place = keys.index(key) if key in keys else len(keys)
        return self.pairs[max(0, place - 1)]

    def shown(self, pair: Pair | None) -> Shown:
        """Return the key of `pair` and the page's text for it; None: everything is read."""
        html = self._template.render(pair=pair, read=self.read(), total=len(self.pairs), same=self.same)
        return (pair.key if pair else ""), html

    def finish(self) -> Shown:
        """End the reading and return the last page."""
        self.finished.set()
        html = self._template.render(finished=True, read=self.read(), total=len(self.pairs), same=self.same)
        return "", html


def page(reading: Reading) -> Any:
    """Return the page as Gradio Blocks."""
    import gradio as gr

    with gr.Blocks(title="Tunebook: which answer is better", analytics_enabled=False) as blocks:
        # The pair on the screen travels with each click, see Reading.vote.
        key = gr.Textbox(visible=False)
        card = gr.HTML(elem_id="card")
        with gr.Row():
            for choice, letter, text in CHOICES:
                button = gr.Button(f"{text} ({letter})", elem_id=choice, variant="primary")
                button.click(
                    lambda now, choice=choice: reading.shown(reading.vote(now, choice)), key, [key, card]
                )
        with gr.Row():
            back = gr.Button("The pair before (Backspace)", elem_id="back", size="sm")
            back.click(lambda now: reading.shown(reading.before(now)), key, [key, card])
            gr.Button("Finish", elem_id="finish", size="sm").click(reading.finish, None, [key, card])
        blocks.load(lambda: reading.shown(reading.unread()), None, [key, card])
    return blocks


async def _from_here_only(request: Any, call_next: Any) -> Any:
    """Serve Gradio's page without its requests to other servers (an HTTP middleware)."""
    from starlette.responses import HTMLResponse

    response = await call_next(request)
    if not response.headers.get("content-type", "").startswith("text/html"):
        return response
    body = b"".join([part async for part in response.body_iterator])
    return HTMLResponse(ELSEWHERE.sub("", body.decode()), response.status_code)


def review(name: str, console: Console) -> int:
    """Serve the pairs of a finished run on 127.0.0.1 until the reader finishes; then write
    review/summary.json and the report. Returns the exit code.

    Raises:
        InputError: no such run, it has not finished, or no two answers differ.
        MachineError: another process has the run folder.
    """
    run = find(name)
    if not run.done("report"):
        raise InputError(
            f"RUN: {show(run.folder)} has not finished; there is nothing to review yet.",
            code="run.not_finished",
        )
    reading = Reading(run)
    if not reading.pairs:
        raise InputError(
            f"RUN: {show(run.folder)}: both models gave the same answer to every row.",
            code="run.same_answers",
        )
    # Gradio's temporary files and everything it would report home stay out of the way.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ.setdefault("GRADIO_TEMP_DIR", str(cache_folder() / "gradio"))
    with run.locked():
        _serve(reading, console)
        counted = review_summary(run)
        if counted:
            write_json(run / "review" / "summary.json", counted)
            console.stage("review", f"{in_words(counted)}.")
            console.note(f"in the report: {show(write_report(run))}")
        else:
            console.stage("review", "nothing was read")
    return GOOD


def start(reading: Reading) -> tuple[Any, str]:
    """Serve the page from a thread; return what can be closed, and the page's address."""
    import gradio as gr
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    # Gradio asks its own page whether it is there, which a network's proxy could not reach.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    blocks = page(reading)
    _, address, _ = blocks.launch(
        server_name="127.0.0.1",
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        footer_links=[],
        head=KEYS,
        # Fonts of the system: the theme's own would be fetched from elsewhere.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        app_kwargs={"middleware": [Middleware(BaseHTTPMiddleware, dispatch=_from_here_only)]},
    )
    return blocks, address


def _serve(reading: Reading, console: Console) -> None:
    blocks, address = start(reading)
    console.stage("review", f"{address} ({reading.read()} of {len(reading.pairs)} pairs are read)")
    console.note(
        "1: A is better, 2: B is better, 0: no difference. Finish, or Ctrl-C here, ends the reading."
    )
    try:
        reading.finished.wait()
        time.sleep(1)  # the last page has still to arrive
    except KeyboardInterrupt:
        pass
    finally:
        blocks.close(verbose=False)


def review_command(run: RunName) -> int:
    """Judge pairs of answers blind, in the browser.

    Resumes where it was left.
    """
    return review(run, command_console())
