"""The general conversations that a run mixes into training, drawn as `replay` says (config/replay.py)."""

from __future__ import annotations

from typing import cast

from tunebook.config.replay import KEY, Replay
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import AxolotlConfig, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.lengths import fitting
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run

FILE = "data/replay.jsonl"  # relative to the run folder


def replay_rows(resolved: Resolved, train: int) -> list[RenderedRow] | None:
    """Return the first rows of the replay file that fit `sequence_len`, at least one; None if none are drawn.

    Raises:
        InputError: the file has too few such rows, or rows that are not conversations.
    """
    if not resolved.replay:
        return None
    entry, share = resolved.replay
    field = entry.get("field_messages", "messages")
    rows = []
    for number, row in enumerate(read_jsonl(ROOT / str(entry["path"])), 1):
        if not isinstance(row.get(field), list):
            text = f"{KEY} draws conversations, and this row has no list called {field!r} (field_messages)."
            raise InputError(Problem(text, str(entry["path"]), number, field, "config.bad_replay"))
        rows.append({**row, "messages": row[field]})
    limit = int(resolved.config.get("sequence_len") or 512)
    fit = fitting(cast(list[RenderedRow], rows), (limit,))[limit]
    count = max(1, round(share * train))
    if count > len(fit):
        raise InputError(
            f"{KEY}: a share of {share:g} of {train} train rows is {count} rows, but "
            f"{entry['path']} has only {len(fit)} rows of at most {limit} tokens (sequence_len). Use a "
            f"smaller share, or remove {KEY} to use all rows.",
            code="config.bad_replay",
        )
    return fit[:count]


def drawn_entry(replay: Replay, run: Run) -> AxolotlConfig:
    """Return the entry of `datasets:` that reads the drawn rows from the run folder."""
    kept = {key: value for key, value in replay.entry.items() if key not in ("shards", "shards_idx")}
    return {**kept, "path": str(run / FILE), "field_messages": "messages", "ds_type": "json"}
