"""Published results: `tunebook results` copies a run's numbers into recipes/<name>/results/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tunebook.console import Console
from tunebook.errors import GOOD, InputError
from tunebook.paths import show
from tunebook.recipes import load
from tunebook.report import number
from tunebook.run import find, read_json, write_json


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish(name: str, console: Console) -> int:
    """Write recipes/<recipe>/results/<tier>-<dataset>-<hardware>-seed<seed>.json from a finished run.

    Raises:
        InputError: no such run, or it has not finished on the test split.
    """
    run = find(name)
    measured = read_json(run / "metrics.json")
    if not run.done("report") or measured["split"] != "test":
        raise InputError(f"{show(run.folder)}: not finished on the test split; nothing to publish.")
    manifest = read_json(run / "manifest.json")
    gpus = manifest["hardware"]["gpus"]
    machine = f"{len(gpus)}x{gpus[0]['name']}" if gpus else f"cpu-{manifest['hardware']['cores']}-cores"
    parts = [measured["tier"], measured["dataset"], machine, f"seed{measured['seed']}"]
    path = load(measured["recipe"]).folder / "results" / f"{'-'.join(map(_slug, parts))}.json"
    path.parent.mkdir(exist_ok=True)
    kept = ("started", "commit", "lock", "versions", "command")
    write_json(path, {**measured, "run": {key: manifest[key] for key in kept}})
    console.stage("results", show(path))
    return GOOD


def last_published(folder: Path) -> str | None:
    """Return the newest published result of a recipe folder in a few words, or None."""
    found: list[dict[str, Any]] = [read_json(path) for path in (folder / "results").glob("*.json")]
    if not found:
        return None
    last = max(found, key=lambda item: item["run"]["started"])
    metric = last["primary"]
    values = [last["contenders"][name][metric]["value"] for name in (last["baseline"], "tuned")]
    return f"{last['tier']}: {metric} {number(metric, values[0])} to {number(metric, values[1])}"
