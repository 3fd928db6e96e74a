"""`tunebook publish`: upload a run's model to the Hub, with a model card filled from the run."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core.errors import GOOD
from tunebook.core.files import write_text
from tunebook.core.paths import show
from tunebook.export import hub
from tunebook.runs.model_files import find_with_model


def publish_command(
    run: RunName,
    repo: Annotated[str, typer.Option(help="owner/name on the Hub")],
    what: Annotated[
        Literal["adapter", "merged", "gguf"], typer.Option(help="gguf uploads all files of export/gguf")
    ] = "adapter",
    licence: Annotated[
        str | None, typer.Option(help="licence of the model; default: that of the base model")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="make a new repository public; default: private")
    ] = False,
    send: Annotated[
        bool, typer.Option("--send", help="upload the files; without it, only list them")
    ] = False,
) -> int:
    """Publish a run's model on the Hugging Face Hub.

    Lists every file with its size; SEND=1 uploads them.
    """
    console, found = command_console(), find_with_model(run, "report")
    upload = hub.prepare(found, what, repo, licence)
    path = found / "export" / f"card-{what}.md"
    path.parent.mkdir(exist_ok=True)
    write_text(path, upload.card)
    rows = [{"file": name, "size": _size(bytes)} for name, bytes in upload.sizes.items()]
    console.table(rows, f"{'sending' if send else 'would be sent'} to {repo}")
    console.note(f"{sum(upload.sizes.values()) / 1e6:,.1f} MB in total; card: {show(path)}")
    if not send:
        console.note(
            "nothing was sent. Use SEND=1 (--send) to upload"
            + ("" if public else ", to a private repository")
        )
        return GOOD
    address = hub.send(upload, private=not public)
    console.stage("publish", address)
    return GOOD


def _size(bytes: int) -> str:
    return f"{bytes / 1e6:,.1f} MB" if bytes >= 100_000 else f"{bytes / 1e3:,.1f} kB"
