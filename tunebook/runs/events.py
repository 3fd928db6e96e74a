"""The sessions and progress events of a run, and what its interruptions cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.core.files import read_records
from tunebook.runs.run import Run


def interruptions(run: Run) -> dict[str, Any] | None:
    """Return the cost of interruptions so far, or None if the run has no sessions.

    `steps_repeated` are training steps repeated after a kill, as far as events.jsonl shows. `dollars` is the
    cost of all sessions at their rates, or None if no rate was given.
    """
    sessions = run.sessions()
    if not sessions:
        return None
    ends = [entry.get("end", "killed") for entry in sessions[:-1]]
    priced = [e["seconds"] / 3600 * e["dollars_per_hour"] for e in sessions if "dollars_per_hour" in e]
    return {
        "sessions": len(sessions),
        "stopped": ends.count("stopped"),
        "killed": ends.count("killed"),
        "failed": ends.count("failed"),
        "seconds": round(sum(entry["seconds"] for entry in sessions), 1),
        "steps_repeated": _steps_repeated(run / "events.jsonl"),
        "dollars": round(sum(priced), 4) if len(priced) == len(sessions) else None,
    }


def _steps_repeated(events: Path) -> int:
    repeated = before = 0
    for event in read_records(events):
        done = event.get("done")
        if event.get("stage") == "train" and "job" not in event and isinstance(done, int):
            repeated += max(0, before - done)
            before = done
    return repeated
