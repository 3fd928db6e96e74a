"""The progress of a run, read from its files: stage, step, loss, speed, time left, cost so far."""

from __future__ import annotations

from tunebook.core.files import read_records
from tunebook.runs.events import interruptions
from tunebook.runs.run import Run

NUMBERS = ("done", "total", "time")  # of a whole event
RECENT = 20  # number of events from which the speed is computed


def progress(run: Run) -> str:
    """Return a sentence about the progress of a run, which may still be running on another machine."""
    if run.done("report"):
        parts = ["finished"]
    else:
        events = [
            event
            for event in read_records(run / "events.jsonl")
            if "stage" in event and all(isinstance(event.get(key), (int, float)) for key in NUMBERS)
        ]
        if not events:
            return "nothing trained yet"
        last = events[-1]
        parts = [f"{last.get('job', last['stage'])} {last['done']} of {last['total']}"]
        same = [
            event for event in events if event.get("job", event["stage"]) == last.get("job", last["stage"])
        ]
        recent = same[-RECENT:]
        for key, words in (("loss", "loss {:.3f}"), ("tokens_per_second", "{:.0f} tokens/s per GPU")):
            values = [event[key] for event in recent if key in event]
            if values:
                parts.append(words.format(values[-1]))
        done, seconds = last["done"] - recent[0]["done"], last["time"] - recent[0]["time"]
        if done > 0 and last["done"] < last["total"]:
            left = (last["total"] - last["done"]) * seconds / done
            parts.append(f"about {left / 60:.0f} minutes left in this stage")
    spent = interruptions(run)
    if spent:
        parts.append(f"{spent['sessions']} sessions, {spent['seconds'] / 3600:.2f} hours")
        if spent["dollars"] is not None:
            parts.append(f"${spent['dollars']:.2f} so far")
    return ", ".join(parts)
