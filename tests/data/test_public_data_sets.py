"""Rows in the shapes of public data sets: read at once, or after one option that works as it is typed.

The shapes are public, the rows are our own. Readings and rows are made here without a fork, so this is fast.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunebook.commands.fork.advice.exports import code_of, export_of
from tunebook.commands.fork.columns import Reading
from tunebook.commands.fork.options import read_drop, read_fields
from tunebook.commands.fork.recognise import recognise
from tunebook.commands.fork.tables.gather import gather
from tunebook.core.errors import InputError, Problem
from tunebook.data.files.label_sets import several_in_one
from tunebook.data.files.table_options import AS_IT_IS
from tunebook.data.formats.conversations import repaired_conversation
from tunebook.data.formats.leaves import without_fields
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.rows.picked import picked

Row = dict[str, Any]
COUNT = 40
TOPICS = "harbour lock tide quay buoy pilot crane ferry slip dredger".split()
TYPED = re.compile(r"""\b(FIELDS|DROP)="([^"]*)"(?: DROP="([^"]*)")?""")


def ask(n: int) -> str:
    return f"Who built the {TOPICS[n % 10]} of pier {n}?"


def say(n: int) -> str:
    return f"Ada Marsh{n} built it with {TOPICS[(n + 3) % 10]} and rope."


def told(n: int) -> str:
    return f"Pier {n} has a {TOPICS[n % 10]}. Ada Marsh{n} built it."


def turns(*said: str) -> list[Row]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]


def rows_of(make: Callable[[int], Row]) -> list[Row]:
    return [make(n) for n in range(COUNT)]


def made(rows: list[Row], task: str, fields: str = "", drop: str = "") -> Row:
    """Return the first row as the templates get it.

    Raises:
        InputError: the rows are not recognised, or one cannot be read.
    """
    columns = read_fields(fields)
    rows = [picked(without_fields(row, read_drop(drop)), columns.values()) for row in rows]
    reading: Reading = recognise(rows, "rows.jsonl", task, columns)
    rows = [picked(row, reading.columns.values()) for row in rows]
    read = [one for _, one in read_layout(iter(enumerate(rows, 1)), reading.layout, reading.columns, "rows")]
    if faults := [str(one) for one in read if isinstance(one, Problem)]:
        raise InputError("\n".join(faults[:3]))
    return dict(read[0])


def choices(error: InputError) -> Iterator[tuple[str, str]]:
    """Yield each FIELDS= and DROP= that a message prints, as they are typed."""
    for name, value, more in TYPED.findall(str(error)):
        if "..." not in value:
            given = shlex.split(f'"{value}"')[0]
            yield (given, more) if name == "FIELDS" else ("", given)


CHOICES = {"text": ["rope", "Ada"], "label": ["A", "B"]}
MODERATION = [{"categories": {"hate": False}, "category_scores": {"hate": 0.01}, "flagged": False}]
AT_ONCE: dict[str, tuple[str, Callable[[int], Row], str, Any]] = {
    "HotpotQA on the Hub": (
        "qa",
        lambda n: {
            "question": ask(n),
            "answer": f"Ada Marsh{n}",
            "context": {"title": ["Pier", "Sea"], "sentences": [["One.", " Two."], [told(n)]]},
        },
        "context",
        f"Pier\nOne. Two.\n\nSea\n{told(0)}",
    ),
    "HotpotQA": (
        "qa",
        lambda n: {"question": ask(n), "answer": "Ada", "context": [["Pier", ["One.", " Two."]]]},
        "context",
        "Pier\nOne. Two.",
    ),
    "MuSiQue": (
        "qa",
        lambda n: {
            "paragraphs": [{"idx": 0, "title": "Pier", "paragraph_text": told(n), "is_supporting": True}],
            "question": ask(n),
            "answer": "Ada",
        },
        "context",
        f"Pier\n{told(0)}",
    ),
    "MS MARCO": (
        "qa",
        lambda n: {
            "query": ask(n),
            "answers": ["Ada"],
            "passages": {"is_selected": [0, 1], "passage_text": ["Sea.", told(n)]},
        },
        "context",
        f"Sea.\n\n{told(0)}",
    ),
    "DROP": (
        "qa",
        lambda n: {"passage": told(n), "question": ask(n), "answers_spans": {"spans": ["4", "4"]}},
        "answers",
        ["4"],
    ),
    "TriviaQA": (
        "qa",
        lambda n: {
            "question": ask(n),
            "context": told(n),
            "answer": {"value": "Ada", "aliases": ["Ada", "A."]},
        },
        "answers",
        ["Ada", "A."],
    ),
    "NuminaMath": (
        "chat",
        lambda n: {"problem": ask(n), "solution": say(n), "messages": turns(ask(n), say(n))},
        "turns",
        turns(ask(0), say(0)),
    ),
    "Magpie, several turns": (
        "chat",
        lambda n: {
            "instruction": ask(n),
            "response": say(n),
            "conversations": turns(ask(n), say(n), "Why?", "So."),
        },
        "turns",
        turns(ask(0), say(0), "Why?", "So."),
    ),
    "LMSYS, moderated": (
        "chat",
        lambda n: {"conversation": turns(ask(n), say(n)), "openai_moderation": MODERATION},
        "turns",
        turns(ask(0), say(0)),
    ),
    "SNLI": (
        "classification",
        lambda n: {"premise": told(n), "hypothesis": say(n), "label": ("yes", "no")[n % 2]},
        "text",
        f"{told(0)}\n\n{say(0)}",
    ),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_it_is_read_at_once(name: str) -> None:
    task, make, field, expected = AT_ONCE[name]
    assert made(rows_of(make), task)[field] == expected


ONE_OPTION: dict[str, tuple[str, Callable[[int], Row], str]] = {
    "CommonsenseQA": (
        "chat",
        lambda n: {"question": ask(n), "choices": CHOICES, "answerKey": "B"},
        f"{ask(0)}\n\nA. rope\nB. Ada",
    ),
    "RACE": (
        "qa",
        lambda n: {"article": told(n), "question": ask(n), "options": ["rope", "Ada"], "answer": "B"},
        f"{ask(0)}\n\nA. rope\nB. Ada",
    ),
    "MedQA": (
        "chat",
        lambda n: {"question": ask(n), "options": {"A": "rope", "B": "Ada"}, "answer": "B"},
        f"{ask(0)}\n\nA. rope\nB. Ada",
    ),
    "SAMSum": ("chat", lambda n: {"dialogue": f"Ann: {told(n)}", "summary": say(n)}, f"Ann: {told(0)}"),
    "Opus": ("chat", lambda n: {"translation": {"en": ask(n), "fr": say(n)}}, ask(0)),
    "OpenR1-Math": (
        "chat",
        lambda n: {
            "problem": ask(n),
            "solution": told(n),
            "answer": str(n),
            "messages": turns(ask(n), say(n)),
        },
        ask(0),
    ),
    "two prompts with answers": (
        "chat",
        lambda n: {"prompt": ask(n), "completion": say(n), "question": told(n), "answer": say(n + 90)},
        ask(0),
    ),
    "NarrativeQA": (
        "qa",
        lambda n: {
            "document": {"id": "d", "summary": {"text": told(n)}, "text": told(n) * 3},
            "question": {"text": ask(n), "tokens": ask(n).split()},
            "answers": [{"text": "Ada"}],
        },
        ask(0),
    ),
    "sql-create-context": (
        "chat",
        lambda n: {"question": ask(n), "context": f"CREATE TABLE piers_{n} (x)", "answer": say(n)},
        f"CREATE TABLE piers_0 (x)\n\n{ask(0)}",
    ),
    "retrieved contexts": (
        "chat",
        lambda n: {"question": ask(n), "contexts": [told(n), told(n + 1)], "answer": say(n)},
        f"{told(0)}\n\n{told(1)}\n\n{ask(0)}",
    ),
}


@pytest.mark.parametrize("name", ONE_OPTION)
def test_every_option_that_is_printed_works_as_typed(name: str) -> None:
    task, make, prompt = ONE_OPTION[name]
    rows = rows_of(make)
    with pytest.raises(InputError) as caught:
        made(rows, task)
    printed = list(choices(caught.value))
    read = [made(rows, task, fields, drop) for fields, drop in printed]
    first = read[0]
    assert (first["question"] if task == "qa" else first["turns"][0]["content"]) == prompt


def test_xlams_answers_are_calls_of_the_tools_of_the_row() -> None:
    tools = json.dumps([{"name": "tide", "description": "d", "parameters": {}}])
    calls = json.dumps([{"name": "tide", "arguments": {"pier": 3}}])
    turn = made(rows_of(lambda n: {"query": ask(n), "answers": calls, "tools": tools}), "chat")["turns"][1]
    assert turn["tool_calls"][0]["function"] == {"name": "tide", "arguments": '{"pier": 3}'}


def test_the_number_of_a_lettered_choice_is_refused() -> None:
    rows = rows_of(lambda n: {"question": ask(n), "choices": ["rope", "Ada"], "answer": n % 2})
    with pytest.raises(InputError, match="each with its letter"):
        made(rows, "chat")
    with pytest.raises(InputError, match="is the number of an answer to choose from"):
        made(rows, "chat", "prompt=question+choices completion=answer")


def test_words_of_a_label_are_not_labels() -> None:
    stars = ["very negative", "negative", "neutral", "positive", "very positive"]
    assert several_in_one(dict.fromkeys(stars, 9)) is None
    assert several_in_one(dict.fromkeys(["a b", "b c", "c a", "a", "b", "c"], 9)) is not None


ANTHROPIC: list[Row] = [
    {"role": "user", "content": "When?"},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t", "name": "tide", "input": {"score": 3}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "17.30"}]},
    {"role": "assistant", "content": "At 17.30."},
]
GEMINI: list[Row] = [
    {"role": "user", "parts": [{"text": "When?"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "tide", "args": {"score": 3}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "tide", "response": {"at": "17.30"}}}]},
    {"role": "model", "parts": [{"text": "At 17.30."}]},
]
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("row", "result"),
    [
        (
            {
                "messages": ANTHROPIC,
                "tools": [{"name": "tide", "description": "d", "input_schema": SCHEMA}],
            },
            "17.30",
        ),
        (
            {
                "contents": GEMINI,
                "tools": [{"functionDeclarations": [{"name": "tide", "parameters": SCHEMA}]}],
            },
            '{"at": "17.30"}',
        ),
    ],
    ids=["Anthropic", "Gemini"],
)
def test_calls_of_other_apis_are_read(row: Row, result: str) -> None:
    read = made([row] * COUNT, "chat")
    assert [turn["role"] for turn in read["turns"]] == ["user", "assistant", "tool", "assistant"]
    call = read["turns"][1]["tool_calls"][0]["function"]
    assert call == {"name": "tide", "arguments": '{"score": 3}'}
    assert read["turns"][2]["content"] == result
    assert read["tools"][0]["function"]["parameters"] == SCHEMA
    assert made([row] * COUNT, "chat", drop="score")["turns"][1] == read["turns"][1]


def test_calls_that_stand_twice_are_read_once_and_others_are_refused() -> None:
    def with_own(name: str) -> list[Row]:  # LangChain writes them beside Anthropic's parts
        own = [{"name": name, "args": {}, "id": "t", "type": "tool_call"}]
        return [ANTHROPIC[0], {**ANTHROPIC[1], "tool_calls": own}, *ANTHROPIC[2:]]

    tools = [{"name": "tide", "description": "d", "input_schema": SCHEMA}]
    read = made([{"messages": with_own("tide"), "tools": tools}] * COUNT, "chat")
    assert [call["function"]["name"] for call in read["turns"][1]["tool_calls"]] == ["tide"]
    with pytest.raises(InputError, match=r"messages\[1\]\.tool_calls: has other calls"):
        made([{"messages": with_own("moon"), "tools": tools}] * COUNT, "chat")


def test_a_result_beside_text_is_refused() -> None:
    mixed = [
        *ANTHROPIC[:2],
        {**ANTHROPIC[2], "content": [*ANTHROPIC[2]["content"], {"type": "text", "text": "x"}]},
    ]
    with pytest.raises(InputError, match=r"messages\[2\]\.content: has a tool's result and something else"):
        made([{"messages": [*mixed, ANTHROPIC[3]]}] * COUNT, "chat")


EXPORTED: dict[str, Callable[[int], Row]] = {
    "Slack": lambda n: {"type": "message", "user": ("U1", "ID")[n % 2], "text": ask(n), "ts": f"{n // 2}.1"},
    "Discord": lambda n: {
        "timestamp": f"2024-01-{n // 2 + 1:02}T10:00",
        "content": ask(n),
        "author": {"id": ("U1", "ID")[n % 2], "name": "x"},
    },
    "Telegram": lambda n: {
        "type": "message",
        "date": f"2024-01-{n // 2 + 1:02}T10:00",
        "from": "x",
        "from_id": ("U1", "ID")[n % 2],
        "text": [ask(n), {"type": "bold", "text": "!"}],
    },
    "Intercom": lambda n: {
        "source": {"body": f"<p>{ask(n)}</p>", "author": {"type": "user"}},
        "conversation_parts": {"conversation_parts": [{"body": say(n), "author": {"type": "admin"}}]},
    },
    "Freshdesk": lambda n: {
        "description_text": ask(n),
        "conversations": [
            {"body_text": "Who knows?", "incoming": False, "private": True},
            {"body_text": say(n), "incoming": False, "private": False},
        ],
    },
    "HubSpot": lambda n: {
        "id": str(n),
        "properties": {
            "hs_email_thread_id": str(n // 2),
            "hs_email_direction": ("INCOMING_EMAIL", "EMAIL")[n % 2],
            "hs_email_text": ask(n),
        },
    },
}


@pytest.mark.parametrize("name", EXPORTED)
def test_the_command_for_an_export_makes_conversations(name: str, tmp_path: Path) -> None:
    rows = rows_of(EXPORTED[name])
    with pytest.raises(InputError, match=f"export of {name}") as caught:
        made(rows, "chat")
    assert caught.value.code == "fork.needs_conversion" and "REPAIR=" in str(caught.value)
    export = export_of(rows)
    assert export is not None
    (tmp_path / "a.json").write_text(json.dumps({"messages": rows}), encoding="utf-8")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(code_of(export, str(tmp_path / "a.json")), {})  # noqa: S102 - the command that is printed
    talks = [json.loads(line)["messages"] for line in shown.getvalue().splitlines()]
    assert len(talks) == (COUNT if export.messages else COUNT // 2)
    for talk in talks:
        read = repaired_conversation(talk, "messages", answered=True)
        assert [turn["role"] for turn in read.turns] == ["user", "assistant"]
    assert "Who knows?" not in shown.getvalue()


@pytest.mark.parametrize("file", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json.gz"])
def test_the_command_for_an_export_opens_its_file(file: str, tmp_path: Path) -> None:
    rows = rows_of(EXPORTED["HubSpot"])
    text = json.dumps(rows) if ".json." in file else "\n".join(map(json.dumps, rows))
    path = tmp_path / file
    path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
    shown = io.StringIO()
    export = export_of(rows)
    assert export is not None
    with contextlib.redirect_stdout(shown):
        exec(code_of(export, str(path)), {})  # noqa: S102 - the command that is printed
    assert len(shown.getvalue().splitlines()) == COUNT // 2


def test_dialogflows_files_are_named_after_their_intents(tmp_path: Path) -> None:
    (tmp_path / "intents").mkdir()
    for intent in ("open", "shut"):
        said = [{"data": [{"text": f"{intent} pier "}, {"text": str(n)}], "count": 0} for n in range(3)]
        (tmp_path / "intents" / f"{intent}_usersays_en.json").write_text(json.dumps(said))
        (tmp_path / "intents" / f"{intent}.json").write_text(json.dumps({"name": intent, "responses": []}))
    found = gather(tmp_path / "intents", tmp_path, AS_IT_IS)
    assert found is not None
    rows = [json.loads(line) for line in found[0]["train"].read_text().splitlines()]
    assert rows[0] == {"text": "open pier 0", "label": "open"}
    assert {row["label"] for row in rows} == {"open", "shut"}
