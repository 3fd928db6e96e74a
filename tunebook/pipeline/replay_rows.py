"""The general conversations that a run mixes into training, drawn as `replay` says (config/replay.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tunebook.config.replay import KEY
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.lengths import fitting
from tunebook.runs.rows import RenderedRow

FILE = "data/replay.jsonl"  # relative to the run folder


def replay_rows(resolved: Resolved, train: int) -> list[RenderedRow] | None:
    """Return the first rows of the second entry of `datasets:` that fit `sequence_len`, `replay` of them per
    train row and at least one; None if all of its rows are trained on, or there is no such entry.

    Raises:
        InputError: the file has too few such rows.
    """
    if not resolved.replay:
        return None
    entry = resolved.config["datasets"][1]
    field = entry.get("field_messages", "messages")
    rows = [{**row, "messages": row[field]} for row in read_jsonl(ROOT / str(entry["path"]))]
    limit = int(resolved.config.get("sequence_len") or 512)
    fit = fitting(cast(list[RenderedRow], rows), (limit,))[limit]
    count = max(1, round(resolved.replay * train))
    if count > len(fit):
        raise InputError(
            f"{KEY}: a share of {resolved.replay:g} of {train} train rows is {count} rows, but "
            f"{entry['path']} has only {len(fit)} rows of at most {limit} tokens (sequence_len). Use a "
            f"smaller share, or remove {KEY} to use all rows.",
            code="config.bad_replay",
        )
    return fit[:count]


def placed(entries: list[dict[str, Any]], drawn: Path | None) -> list[AxolotlConfig]:
    """Return the entries of `datasets:` after the first, with the replay rows read from `drawn`."""
    if drawn is None:
        return entries[1:]
    kept = {key: value for key, value in entries[1].items() if key not in ("shards", "shards_idx")}
    return [{**kept, "path": str(drawn), "field_messages": "messages", "ds_type": "json"}]
