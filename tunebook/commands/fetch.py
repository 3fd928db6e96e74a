"""`tunebook fetch`: fetch a run's small results from its store, during the run or after it; without
checkpoints."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import read_json
from tunebook.core.paths import runs_folder, show
from tunebook.report.format import show_verdict
from tunebook.runs.progress import progress
from tunebook.runs.run import Run, point_latest
from tunebook.runs.storage import Storage
from tunebook.runs.store import Store


def fetch(text: str, url: str, console: Console) -> int:
    """Fetch the run `<recipe>/<id>` or `<recipe>/latest` from below `url` and print its progress.

    Raises:
        InputError: the store has no such run.
        MachineError: the store cannot be reached, or denies access.
    """
    recipe, _, name = text.strip("/").partition("/")
    times = _times(Storage(f"{url.rstrip('/')}/{recipe}"))
    if name == "latest" and times:
        name = max(times, key=times.__getitem__)
    if name not in times:
        there = ", ".join(f"{recipe}/{one}" for one in times) or "none of that recipe"
        raise InputError(f"RUN: no run {text!r} in {url}. Available: {there}.", code="store.unknown_run")
    run = Run(runs_folder() / recipe / name)
    with run.locked():
        state = Store(url, run).fetch(console.note, small=True)
    point_latest(run)
    when = f"as of {state['time']}" if state else "the store has nothing newer"
    console.stage("fetch", f"{show(run.folder)}, {when}")
    console.stage("progress", progress(run))
    measured = read_json(run / "metrics.json")
    if run.done("report") and measured:
        show_verdict(measured, console)
        console.note(f"report: {show(run / 'report.html')}")
    return GOOD


def _times(storage: Storage) -> dict[str, str]:
    """Return when each run of a recipe was last saved."""
    times = {}
    for name in storage.names(""):
        states = storage.names(f"{name}/states")
        if states:
            try:
                times[name] = str(json.loads(storage.read(f"{name}/states/{states[-1]}")).get("time", ""))
            except ValueError:
                times[name] = ""
    return times


def fetch_command(
    run: RunName,
    store: Annotated[str, typer.Option(help="where runs are kept: s3://, gs://, az:// or a folder")],
) -> int:
    """Fetch a run's report, metrics, model and logs from its store.

    It also shows the progress of the run.
    """
    return fetch(run, store, command_console())
