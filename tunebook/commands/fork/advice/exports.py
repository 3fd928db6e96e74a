"""Exports of chat programs and help desks, whose rows are messages or tickets: what they are, and the command
that makes conversations of them.

In: a sample of rows. Out: the name of the program and the command, or None.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunebook.data.formats.open_file import kind_of
from tunebook.data.formats.rows.row import Row

ENOUGH = 0.8  # share of the sampled rows that have the form
REPAIRS = 'REPAIR="join_turns drop_opening drop_unanswered"'


@dataclass(frozen=True)
class Export:
    """An export: how a row is recognised, and, as Python, the list of messages of a row `r` or of the file,
    what one conversation is, who is the side to be learned, and the text of a message `m`."""

    program: str
    fits: Callable[[Row], bool]
    same: str = ""  # the key of a conversation; "" if a row is one
    messages: str = ""
    side: str = ""
    text: str = ""
    unsure: str = ""  # what a person has to fill in


def _inside(name: str, *keys: str) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        value = row.get(name)
        return isinstance(value, dict) and any(key in value for key in keys)

    return fits


EXPORTS = (
    Export(
        "Slack",
        lambda row: row.get("type") == "message" and {"ts", "text"} <= row.keys(),
        "m.get('thread_ts', m['ts'])",
        side="m.get('user') == 'ID'",
        text="m.get('text')",
        unsure="the user id of the side to be learned for ID",
    ),
    Export(
        "Discord",
        lambda row: (
            isinstance(row.get("author"), dict)
            and {"content", "timestamp"} <= row.keys()
            and bool({"name", "username"} & row["author"].keys())
        ),
        "m['timestamp'][:10]",
        side="m['author']['id'] == 'ID'",
        text="m.get('content')",
        unsure="the id of the author to be learned for ID",
    ),
    Export(
        "Telegram",
        lambda row: {"from_id", "date", "text"} <= row.keys() and "from" in row,
        "m['date'][:10]",
        side="m.get('from_id') == 'ID'",
        text="''.join(p if isinstance(p, str) else p['text'] for p in m.get('text', ''))",
        unsure="the from_id of the side to be learned for ID",
    ),
    Export(
        "Intercom",
        lambda row: isinstance(row.get("conversation_parts"), dict),
        messages="[r['source'], *r['conversation_parts']['conversation_parts']]",
        side="m['author']['type'] in ('admin', 'bot')",
        text=(
            "m.get('part_type', 'comment') == 'comment' "
            "and re.sub('<[^>]+>', ' ', m.get('body') or '').strip()"
        ),
    ),
    Export(
        "Freshdesk",
        lambda row: "description_text" in row and isinstance(row.get("conversations"), list),
        messages="[{'body_text': r['description_text'], 'incoming': True}, *r['conversations']]",
        side="not m['incoming']",
        text="not m.get('private') and m.get('body_text')",
    ),
    Export(
        "Freshdesk",
        _inside("helpdesk_ticket", "description"),
        messages=(
            "[{'body': r['helpdesk_ticket']['description'], 'incoming': True}, "
            "*(n.get('helpdesk_note', n) for n in r['helpdesk_ticket'].get('notes', []))]"
        ),
        side="not m['incoming']",
        text="not m.get('private') and m.get('body')",
    ),
    Export(
        "HubSpot",
        _inside("properties", "hs_email_text", "hs_email_direction"),
        "m['properties'].get('hs_email_thread_id') or m['id']",
        side="m['properties'].get('hs_email_direction') == 'EMAIL'",
        text="m['properties'].get('hs_email_text')",
    ),
    Export(
        "HubSpot",
        lambda row: row.get("direction") in ("INCOMING", "OUTGOING") and "conversationsThreadId" in row,
        "m['conversationsThreadId']",
        side="m['direction'] == 'OUTGOING'",
        text="m.get('text')",
    ),
)


def export_of(rows: list[Row]) -> Export | None:
    """Return the export that the rows come from, or None."""
    for one in EXPORTS:
        if rows and sum(map(one.fits, rows)) >= ENOUGH * len(rows):
            return one
    return None


def code_of(export: Export, place: str) -> str:
    """Return the Python code that prints the conversations in the file `place`, one per line."""
    packed = Path(place).suffix == ".gz"
    load = "import gzip, itertools, json, re; file = " if packed else "import itertools, json, re; file = "
    load += f"gzip.open({place!r}, 'rt', " if packed else f"open({place!r}, "
    load += "encoding='utf-8'); "
    if kind_of(Path(place)) == ".json":
        load += "rows = json.load(file); rows = rows if isinstance(rows, list) else "
        load += "next(v for v in rows.values() if isinstance(v, list))"
    else:
        load += "rows = [json.loads(line) for line in file]"
    if export.same:
        talks = f"key = lambda m: {export.same}; talks = [list(some) for _, some in itertools.groupby("
        talks += "sorted(rows, key=key), key)]"
    else:
        talks = f"talks = [{export.messages} for r in rows]"
    turn = f"{{'role': 'assistant' if {export.side} else 'user', 'content': {export.text}}}"
    said = f"{{'messages': [t for t in ({turn} for m in talk) if t['content']]}}"
    shown = f"[print(json.dumps({said})) for talk in talks]"
    return "; ".join((load, talks, shown))


def advice(export: Export, place: str) -> str:
    """Return what an export is, and the command that converts it."""
    unsure = f" (put {export.unsure})" if export.unsure else ""
    return (
        f"{place} is an export of {export.program}, whose messages are not yet conversations. Convert "
        f"it{unsure}: "
        f".venv/bin/python -c {_quoted(code_of(export, place))} > talks.jsonl, then fork talks.jsonl with "
        f"{REPAIRS}."
    )


def _quoted(code: str) -> str:
    """Return code as an argument of a shell, readable if it can be."""
    return shlex.quote(code) if {*code} & {*'"$`\\!'} else f'"{code}"'
