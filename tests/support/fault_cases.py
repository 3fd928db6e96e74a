"""Faults of rows: the file, the options of the fork, and the exact lines that a person sees."""

# ruff: noqa: E501 - messages are one line, as they are printed

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Any

import zstandard

Content = bytes | str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, Content]
    said: list[str]
    options: dict[str, str] = field(default_factory=dict)
    data: str = ""


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def calls(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}


TALK = [user("Is the door shut?"), said("It is.")]
GOOD_TALKS = [{"messages": [user(f"Question {n}?"), said(f"Answer {n}.")]} for n in range(3)]
GPT = {"conversations": [{"from": "human", "value": "Hello there?"}, {"from": "gpt", "value": "Hello."}]}
QA = {"question": "Where is it?", "context": "It is in the shed.", "answers": ["in the shed"]}
LABELS = [
    {"text": f"the kettle {word} again", "label": "ab"[n % 2]}
    for n, word in enumerate("drips leaks hums roars".split())
]
CSV = "text,label\nthe kettle drips again,a\nthe kettle leaks again,b\nthe kettle hums again,a\nthe kettle roars again,b\n"
ALPACA = {"instruction": "Name a river.", "input": "in Spain", "output": "The Ebro."}
PAIR = {"prompt": "Name a river.", "completion": "The Ebro."}
PREFERENCE = {"prompt": "Name a river.", "chosen": "The Ebro.", "rejected": "No."}
LINES = '{"text": "caf\u00e9", "label": "a"}\n{"text": "two\\nlines", "label": "b"}\n'
TABLE = 'text,label\ncaf\u00e9,a\n"two\nlines",b\n'
ROWS = [{"text": "caf\u00e9", "label": "a"}, {"text": "two\nlines", "label": "b"}]

GOOD_FILES: dict[str, Content] = {
    "a.jsonl": LINES,
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "crlf.jsonl": LINES.replace("\n", "\r\n"),
    "utf16.jsonl": LINES.encode("utf-16"),
    "utf16-without-mark.jsonl": LINES.encode("utf-16-le"),
    "a.jsonl.gz": gzip.compress(LINES.encode()),
    "a.jsonl.zst": zstandard.compress(LINES.encode()),
    "lines.json": LINES,
    "list.json": '[{"text": "caf\u00e9", "label": "a"},\n{"text": "two\\nlines", "label": "b"}]',
    "A.CSV": TABLE,
    "bom.csv": b"\xef\xbb\xbf" + TABLE.encode(),
    "utf16.csv": TABLE.encode("utf-16"),
    "semicolons.csv": TABLE.replace(",", ";"),
    "a.csv.gz": gzip.compress(TABLE.encode()),
    "a.tsv": TABLE.replace(",", "\t"),
    "a.parquet": ROWS,
    "a.xlsx": [["text", "label"], *[list(row.values()) for row in ROWS]],
}


def squad(**question: Any) -> dict[str, Any]:
    asked = {"id": "q1", "question": "Where is it?", "answers": [{"text": "in the shed", "answer_start": 6}]}
    paragraph = {"context": "It is in the shed.", "qas": [{**asked, **question}]}
    return {"version": "v2.0", "data": [{"title": "Shed", "paragraphs": [paragraph]}]}


def talks(*messages: Any) -> list[Any]:
    """Return three good conversations and one of these messages, on line 4."""
    return [*GOOD_TALKS, {"messages": list(messages)}]


def jsonl(name: str, rows: list[Any], *lines: str, **options: str) -> Case:
    return Case(name, {"a.jsonl": rows}, list(lines), options)


def file(name: str, path: str, content: Content, *lines: str, **options: str) -> Case:
    return Case(name, {path: content}, list(lines), options)


CASES = [
    # Files
    file(
        "unknown kind",
        "a.txt",
        "hello",
        "a.txt: not a kind of file that can be read. Give .jsonl, .json, .csv, .tsv, .parquet, .xlsx, or one of them packed as .gz, .zst.",
    ),
    file(
        "old Excel",
        "a.xls",
        b"\xd0\xcf\x11\xe0",
        "a.xls: not a kind of file that can be read. Save it as .xlsx. Give .jsonl, .json, .csv, .tsv, .parquet, .xlsx, or one of them packed as .gz, .zst.",
    ),
    file("not gzip", "a.jsonl.gz", b"plain", "a.jsonl.gz: not gzip data: Not a gzipped file (b'pl')."),
    file(
        "gzip cut off",
        "a.jsonl.gz",
        gzip.compress(LINES.encode())[:-9],
        "a.jsonl.gz: the gzip data is cut off. Copy it again.",
    ),
    file(
        "not Zstandard",
        "a.csv.zst",
        b"plain text here",
        "a.csv.zst: not Zstandard data: zstd decompressor error: Unknown frame descriptor.",
    ),
    file(
        "Zstandard cut off",
        "a.csv.zst",
        zstandard.compress(TABLE.encode())[:-6],
        "a.csv.zst: the Zstandard data is cut off. Copy it again.",
    ),
    file(
        "UTF-16 cut off",
        "a.csv",
        CSV.encode("utf-16")[:-1],
        "a.csv: not UTF-16 text: truncated data. Save the file as UTF-8.",
    ),
    file(
        "Latin-1 CSV",
        "a.csv",
        (CSV + "caf\u00e9 au lait,a\n").encode("latin-1"),
        "a.csv:6: not UTF-8 text. Save the file as UTF-8.",
    ),
    file(
        "Latin-1 JSONL",
        "a.jsonl",
        b'{"text": "a b", "label": "a"}\n{"text": "caf\xe9 b", "label": "b"}\n',
        "a.jsonl:2: not UTF-8 text. Save the file as UTF-8.",
    ),
    file(
        "Latin-1 header",
        "a.csv",
        "pr\u00e9nom,label\nAda,b\n".encode("latin-1"),
        "a.csv:1: not UTF-8 text. Save the file as UTF-8.",
    ),
    file("empty JSONL", "a.jsonl", "\n\n", "DATA: a.jsonl: has no rows with names of fields."),
    file("empty CSV", "a.csv", "", "a.csv: is empty. Its first line must name the columns."),
    file("CSV with a header only", "a.csv", "text,label\n", "DATA: a.csv: has no rows with names of fields."),
    file(
        "too many columns",
        "a.csv",
        CSV + "one, two,a\n",
        "a.csv:6: expected 2 columns (got 3). Quote fields that hold ',' or a line end.",
    ),
    file(
        "too few columns",
        "a.csv",
        CSV + "alone\n",
        "a.csv:6: expected 2 columns (got 1). Quote fields that hold ',' or a line end.",
    ),
    file(
        "a row after a text of two lines",
        "a.csv",
        CSV + '"two\nlines",a\nalone\n',
        "a.csv:8: expected 2 columns (got 1). Quote fields that hold ',' or a line end.",
    ),
    file("quote never closed", "a.csv", CSV + 'five,"a\n', "a.csv:6: not CSV: unexpected end of data."),
    file(
        "two columns of one name",
        "a.csv",
        "text,text\na,b\n",
        "a.csv:1: two columns are called 'text'. Rename one.",
    ),
    file(
        "no JSON",
        "a.jsonl",
        '{"messages": [\n',
        "a.jsonl:1: not JSON: Expecting value at column 15. Each line must hold one JSON object.",
    ),
    file("JSON list in JSONL", "a.jsonl", [*GOOD_TALKS, [1]], "a.jsonl:4: expected an object (got list)."),
    file("text in JSONL", "a.jsonl", [*GOOD_TALKS, "hello"], "a.jsonl:4: expected an object (got str)."),
    file(
        "half a surrogate pair",
        "a.jsonl",
        '{"prompt": "a", "completion": "\\ud83d"}\n',
        "a.jsonl:1: holds half of a surrogate pair.",
    ),
    file("nested too deeply", "a.jsonl", "[" * 100_000 + "\n", "a.jsonl:1: nested too deeply."),
    file(
        "JSON document cut off",
        "a.json",
        '[\n{"prompt": "a", "completion": "b"},\n{"prompt": "c"',
        "a.json:3: not a JSON list of rows: ends within a value.",
    ),
    file(
        "JSON document with a fault",
        "a.json",
        '[\n{"prompt": "a", "completion": "b"},\n{"prompt": nothing}]',
        "a.json:3: not a JSON list of rows: Expecting value.",
    ),
    file("JSON document of numbers", "a.json", "[1, 2]", "DATA: a.json: has no rows with names of fields."),
    file(
        "JSON document without a list",
        "a.json",
        '{"prompt": "a"}',
        "a.json:1: not a JSON list of rows: expected a list of objects, or an object that holds one.",
    ),
    file(
        "JSON document of two splits",
        "a.json",
        '{"train": [{"prompt": "a", "completion": "b"}],\n"test": [{"prompt": "c", "completion": "d"}]}',
        "a.json:2: not a JSON list of rows: holds two lists of objects, 'train' and 'test'; keep one.",
    ),
    file(
        "JSON document and more",
        "a.json",
        '[{"prompt": "a", "completion": "b"}]\n]',
        "a.json:2: not a JSON list of rows: more text after the end of the document.",
    ),
    file(
        "not Parquet",
        "a.parquet",
        b"PAR1?",
        "a.parquet: not Parquet: Parquet file size is 5 bytes, smaller than the minimum file footer (8 bytes).",
    ),
    file("not Excel", "a.xlsx", b"PK?", "a.xlsx: not an Excel file (.xlsx): File is not a zip file."),
    file("empty sheet", "a.xlsx", [[None]], "a.xlsx: is empty. Its first row must name the columns."),
    # Conversations
    jsonl(
        "unknown role",
        talks({"role": "asistant", "content": "x"}),
        "a.jsonl:4: messages[0].role: unknown role (got 'asistant'). Did you mean assistant?",
    ),
    jsonl(
        "role like no other",
        talks({"role": "narrator", "content": "x"}),
        "a.jsonl:4: messages[0].role: unknown role (got 'narrator'). Known: system, developer, user, human, prompter, customer, person, instruction, input, question, assistant, gpt, bot, model, ai, chatbot, chatgpt, bing, bard, agent, response, output, answer, function_call, tool_call, tool, function, observation, function_response.",
    ),
    jsonl(
        "no role",
        talks({"content": "x"}),
        "a.jsonl:4: messages[0]: has no role; it is called role, from, speaker.",
    ),
    jsonl(
        "no text",
        talks({"role": "user"}),
        "a.jsonl:4: messages[0]: has no text; it is called content, value, text.",
    ),
    jsonl(
        "turn is no object",
        talks("hello"),
        "a.jsonl:4: messages[0]: expected a turn with a role and a text (got text).",
    ),
    jsonl("empty messages", talks(), "a.jsonl:4: messages: expected a list of turns (got an empty list)."),
    jsonl(
        "messages is text",
        [*GOOD_TALKS, {"messages": "hello"}],
        "a.jsonl:4: messages: expected a list of turns (got text).",
    ),
    jsonl("messages missing", [*GOOD_TALKS, {"message": TALK}], "a.jsonl:4: messages: missing."),
    jsonl(
        "empty content",
        talks(user("Hm?"), said(" ")),
        "a.jsonl:4: messages[1].content: empty; nothing could be learned from it.",
    ),
    jsonl(
        "content is null",
        talks(user("Hm?"), said(None)),
        "a.jsonl:4: messages[1].content: empty; nothing could be learned from it.",
    ),
    jsonl(
        "content is a number of objects",
        talks(user({"a": 1}), said("x")),
        "a.jsonl:4: messages[0].content: expected text (got an object).",
    ),
    jsonl(
        "picture in a turn",
        talks(user([{"type": "text", "text": "Look:"}, {"type": "image_url"}]), said("x")),
        "a.jsonl:4: messages[0].content[1]: only text can be trained (got a part of type image_url).",
    ),
    jsonl(
        "user twice",
        talks(user("a"), user("b"), said("c")),
        "a.jsonl:4: messages[1]: expected the assistant's turn; turns alternate.",
    ),
    jsonl(
        "assistant first",
        talks(said("a"), user("b")),
        "a.jsonl:4: messages[0]: expected the user's turn; turns alternate.",
    ),
    jsonl(
        "user last",
        talks(user("a"), said("b"), user("c")),
        "a.jsonl:4: messages[2]: the last turn must be the assistant's.",
    ),
    jsonl(
        "system only",
        talks({"role": "system", "content": "x"}),
        "a.jsonl:4: messages: holds no turn of a user.",
    ),
    jsonl(
        "system in the middle",
        talks(user("a"), {"role": "system", "content": "x"}, said("b")),
        "a.jsonl:4: messages[1]: a system turn may only stand first.",
    ),
    jsonl(
        "weight of a half",
        talks(user("a"), said("b", weight=0.5)),
        "a.jsonl:4: messages[1].weight: expected 0 or 1, on an assistant's turn (got 0.5).",
    ),
    jsonl(
        "weight of a user",
        talks(user("a", weight=1), said("b")),
        "a.jsonl:4: messages[0].weight: expected 0 or 1, on an assistant's turn (got 1).",
    ),
    jsonl(
        "all weights 0",
        talks(user("a"), said("b", weight=0)),
        "a.jsonl:4: messages: every assistant's turn has weight 0; nothing would be learned from it.",
    ),
    jsonl(
        "a tool without a name",
        [*GOOD_TALKS, {"messages": TALK, "tools": [{"type": "function"}]}],
        "a.jsonl:4: tools[0]: expected a tool with a name.",
    ),
    jsonl(
        "tools that are no list",
        [*GOOD_TALKS, {"messages": TALK, "tools": {"name": "tide"}}],
        "a.jsonl:4: tools: expected a list of tools, or its JSON text.",
    ),
    jsonl(
        "a call without a name",
        talks(user("a"), {"role": "assistant", "tool_calls": [{"id": "c1"}]}),
        "a.jsonl:4: messages[1].tool_calls[0]: expected a call with the name of a tool.",
    ),
    jsonl(
        "arguments that are no JSON",
        talks(user("a"), calls("tide", "at noon")),
        "a.jsonl:4: messages[1].tool_calls[0].arguments: not JSON: Expecting value at character 0.",
    ),
    jsonl(
        "arguments that are no object",
        talks(user("a"), calls("tide", "[1]")),
        "a.jsonl:4: messages[1].tool_calls[0].arguments: expected an object, or its JSON text.",
    ),
    jsonl(
        "a call of a tool that is not offered",
        [*GOOD_TALKS, {"messages": [user("a"), calls("tides", "{}")], "tools": [{"name": "tide"}]}],
        "a.jsonl:4: messages: calls 'tides', which tools does not hold.",
    ),
    jsonl(
        "a call by the user",
        talks({**calls("tide", "{}"), "role": "user"}, said("b")),
        "a.jsonl:4: messages[0].tool_calls: only an assistant's turn calls tools.",
    ),
    jsonl(
        "a call that no tool answers",
        talks(user("a"), calls("tide", "{}"), user("b"), said("c")),
        "a.jsonl:4: messages[2]: expected the tool's turn; turns alternate.",
    ),
    jsonl(
        "a tool that nobody called",
        talks(user("a"), {"role": "tool", "content": "1"}, said("b")),
        "a.jsonl:4: messages[1]: expected the assistant's turn; turns alternate.",
    ),
    jsonl(
        "an answer of a tool at the end",
        talks(user("a"), calls("tide", "{}"), {"role": "tool", "content": "1"}),
        "a.jsonl:4: messages[2]: the last turn must be the assistant's.",
    ),
    jsonl(
        "ShareGPT: odd role",
        [GPT, {"conversations": [{"from": "humam", "value": "x"}]}],
        "a.jsonl:2: conversations[0].from: unknown role (got 'humam'). Did you mean human?",
    ),
    jsonl(
        "ShareGPT: no value",
        [GPT, {"conversations": [{"from": "human"}]}],
        'DATA: the columns of a.jsonl are not recognised (conversations). Name them: FIELDS="text=... label=..." or FIELDS="chosen=... rejected=..." or FIELDS="question=... context=... answers=..." or FIELDS="prompt=... completion=..." or FIELDS="messages=...".',
    ),
    jsonl(
        "ShareGPT: assistant first",
        [GPT, {"conversations": GPT["conversations"][::-1]}],
        "a.jsonl:2: conversations[0]: expected the user's turn; turns alternate.",
    ),
    jsonl(
        "repeated id",
        [{"id": "a", **talk} for talk in GOOD_TALKS],
        "GROUP: `id` of a.jsonl stands in 2 rows a second time. Choose: GROUP=id where rows of one id belong together, another column, or GROUP=none where every row stands alone.",
    ),
    file(
        "SQuAD: repeated id",
        "a.json",
        {"data": squad()["data"] * 2},
        "a.json:1: data[1].id: repeats the id of line 1.",
    ),
    jsonl(
        "two faults",
        talks(user(""), said("x")) + [{"messages": [said("x")]}],
        "a.jsonl:4: messages[0].content: empty; nothing could be learned from it.",
        "a.jsonl:5: messages[0]: expected the user's turn; turns alternate.",
    ),
    # Pairs
    jsonl("Alpaca: no output", [ALPACA, {"instruction": "Name a lake."}], "a.jsonl:2: output: missing."),
    jsonl(
        "Alpaca: empty output",
        [ALPACA, {**ALPACA, "output": ""}],
        "a.jsonl:2: output: empty; nothing could be learned from it.",
    ),
    jsonl(
        "Alpaca: output is a list",
        [ALPACA, {**ALPACA, "output": ["a"]}],
        "a.jsonl:2: output: expected text (got a list).",
    ),
    jsonl(
        "Alpaca: input is an object",
        [ALPACA, {**ALPACA, "input": {"a": 1}}],
        "a.jsonl:2: input: expected text (got an object).",
    ),
    jsonl("no prompt", [PAIR, {"completion": "x"}], "a.jsonl:2: prompt: missing."),
    jsonl(
        "empty completion",
        [PAIR, {"prompt": "x", "completion": "\n"}],
        "a.jsonl:2: completion: empty; nothing could be learned from it.",
    ),
    jsonl(
        "preference: nothing chosen",
        [PREFERENCE, {**PREFERENCE, "chosen": ""}],
        "a.jsonl:2: chosen: empty; nothing could be learned from it.",
    ),
    jsonl(
        "preference: no rejected",
        [PREFERENCE, {"prompt": "a", "chosen": "b"}],
        "a.jsonl:2: rejected: missing.",
    ),
    # Questions on passages
    file(
        "SQuAD: answer not in the passage",
        "a.json",
        squad(answers=[{"text": "at sea"}]),
        "a.json:1: data[0].paragraphs[0].qas[0].answers[0]: is not in the context (got 'at sea').",
    ),
    file(
        "SQuAD: no answer and not impossible",
        "a.json",
        squad(answers=[]),
        "a.json:1: data[0].paragraphs[0].qas[0].answers: empty, and is_impossible is not true.",
    ),
    file(
        "SQuAD: impossible and answered",
        "a.json",
        squad(is_impossible=True),
        "a.json:1: data[0].paragraphs[0].qas[0].is_impossible: true, and there are answers.",
    ),
    file(
        "SQuAD: empty question",
        "a.json",
        squad(question=" "),
        "a.json:1: data[0].paragraphs[0].qas[0].question: empty; nothing could be learned from it.",
    ),
    file(
        "SQuAD: no answers",
        "a.json",
        squad(answers=None),
        "a.json:1: data[0].paragraphs[0].qas[0].answers: expected a list of objects.",
    ),
    file(
        "SQuAD: no questions",
        "a.json",
        {"data": [{"title": "x", "paragraphs": [{"context": "y"}]}]},
        "a.json:1: data[0].paragraphs[0].qas: expected a list of objects.",
    ),
    file(
        "SQuAD: no passage",
        "a.json",
        {"data": [{"title": "x", "paragraphs": [{"qas": [{}]}]}]},
        "a.json:1: data[0].paragraphs[0].context: empty; nothing could be learned from it.",
    ),
    jsonl(
        "no passage",
        [QA, {**QA, "context": ""}],
        "a.jsonl:2: context: empty; nothing could be learned from it.",
    ),
    jsonl(
        "answers like a list",
        [QA, {**QA, "answers": "['in the shed']"}],
        "a.jsonl:2: answers: begins like a list of answers and is not JSON.",
    ),
    jsonl(
        "an empty answer",
        [QA, {**QA, "answers": ["in", " "]}],
        "a.jsonl:2: answers[1]: empty; nothing could be learned from it.",
    ),
    jsonl("answers missing", [QA, {"question": "a", "context": "b"}], "a.jsonl:2: answers: missing."),
    # Labels
    file(
        "no label",
        "a.csv",
        CSV + "the kettle sings again,\n",
        "a.csv:6: label: empty; nothing could be learned from it.",
    ),
    file("empty text", "a.csv", CSV + ",a\n", "a.csv:6: text: empty; nothing could be learned from it."),
    jsonl(
        "label is a list",
        [*LABELS, {"text": "the kettle sings again", "label": ["a"]}],
        "a.jsonl:5: label: expected text (got a list).",
        fields="text=text label=label",
    ),
    jsonl("label missing", [*LABELS, {"text": "the kettle sings again"}], "a.jsonl:5: label: missing."),
    Case(
        "label only in test",
        {"train.csv": CSV, "test.csv": "text,label\nwho is it,c\n"},
        ["test.csv:2: answer: 'c' is not one of the labels of dataset.yaml."],
        data=".",
    ),
    Case(
        "two files may be test",
        {"train.csv": CSV, "test-a.csv": CSV, "test-b.csv": CSV},
        [
            'DATA: .: more than one file may be test (test-a.csv, test-b.csv). Name the files: DATA="train=... test=...".'
        ],
        data=".",
    ),
    Case(
        "no file called like a split",
        {"a.csv": CSV, "b.csv": CSV},
        [
            'DATA: .: no file is called like a split (there are: a.csv, b.csv). Give one file, or name them: DATA="train=... test=...".'
        ],
        data=".",
    ),
    Case(
        "no train",
        {"dev.csv": CSV, "test.csv": CSV},
        ['DATA: .: has no file called train. Name the files: DATA="train=... test=...".'],
        data=".",
    ),
    Case(
        "a file that is not there",
        {"a.csv": CSV},
        [
            'DATA: b.csv: no such file or folder. Give a file, a folder, a dataset on the Hub (owner/name), or files by split (DATA="train=a.csv test=b.csv").'
        ],
        data="b.csv",
    ),
    Case(
        "splits by hand: not there",
        {"a.csv": CSV},
        ["DATA: b.csv: no such file."],
        data="train=a.csv test=b.csv",
    ),
    Case(
        "splits by hand: no split",
        {"a.csv": CSV},
        ["DATA: expected train=, dev= or test= and a file (got 'trian=a.csv')."],
        data="trian=a.csv",
    ),
    # What is what
    file(
        "no column known",
        "a.csv",
        "one,two\nx,y\nz,w\n",
        'DATA: the columns of a.csv are not recognised (one, two). Name them: FIELDS="text=... label=..." or FIELDS="chosen=... rejected=..." or FIELDS="question=... context=... answers=..." or FIELDS="prompt=... completion=..." or FIELDS="messages=...".',
    ),
    file(
        "no header",
        "a.csv",
        "the kettle drips,broken\nthe kettle leaks,broken\nit hums,fine\nit sings,fine\n",
        'DATA: the columns of a.csv are not recognised (the kettle drips, broken). Name them: FIELDS="text=... label=..." or FIELDS="chosen=... rejected=..." or FIELDS="question=... context=... answers=..." or FIELDS="prompt=... completion=..." or FIELDS="messages=...".',
    ),
    file(
        "two labels",
        "a.csv",
        "text,topic,sentiment\na b,x,p\nc d,y,n\ne f,x,n\ng h,y,p\n",
        'FIELDS: more than one column of a.csv may be the label. Choose: FIELDS="label=topic" or FIELDS="label=sentiment".',
    ),
    file(
        "two texts",
        "a.csv",
        "text,body,label\na b,c d,x\ne f,g h,y\ni j,k l,x\nm n,o p,y\n",
        'FIELDS: more than one column of a.csv may be the text. Choose: FIELDS="text=text" or FIELDS="text=body".',
    ),
    file(
        "two groups",
        "a.csv",
        "text,label,customer,ticket\n"
        + "".join(f"t {n},{'xy'[n % 2]},c{n // 2},t{n // 3}\n" for n in range(8)),
        "GROUP: rows of a.csv may belong together by customer or ticket. Choose: GROUP=customer, GROUP=ticket, or GROUP=none where every row stands alone.",
    ),
    jsonl(
        "two lists of turns",
        [{"messages": TALK, "conversations": TALK}] * 2,
        'FIELDS: a.jsonl can be read in more than one way. Choose: FIELDS="messages=messages" or FIELDS="messages=conversations".',
    ),
    file(
        "another task",
        "a.csv",
        CSV,
        "DATA: a.csv holds rows for the task classification (text=text label=label), and the recipe is for qa. Fork a recipe for classification, say TASK=classification, or name the columns with FIELDS=.",
        task="qa",
    ),
    jsonl(
        "two tasks",
        [{**QA, "messages": TALK}] * 3,
        "TASK: a.jsonl can be read in more than one way. Choose: TASK=qa (question=question context=context answers=answers), TASK=chat (messages=messages).",
    ),
    file(
        "FIELDS of no field",
        "a.csv",
        CSV,
        "FIELDS: unknown field 'txt'. Known: text, label, question, context, answers, messages, prompt, input, completion, system, chosen, rejected.",
        fields="txt=text",
    ),
    file(
        "FIELDS of no column",
        "a.csv",
        CSV,
        "FIELDS: a.csv has no column 'topic'. It has: text, label.",
        fields="label=topic",
    ),
    file(
        "FIELDS without =",
        "a.csv",
        CSV,
        "FIELDS: expected name=column, as in \"text=body label=topic\" (got 'label').",
        fields="label",
    ),
    file(
        "GROUP of no column",
        "a.csv",
        CSV,
        "GROUP: a.csv has no column 'customer'. It has: text, label.",
        group="customer",
    ),
    file(
        "TASK of no task",
        "a.csv",
        CSV,
        "TASK: expected one of classification, qa, chat, preference (got 'chess').",
        task="chess",
    ),
    file(
        "TIME that is none",
        "a.csv",
        CSV.replace("text,", "day,text,").replace("\nthe", "\nsoon,the"),
        "a.csv:2: day: not a time (got 'soon'). Write it as 2026-11-25T14:30:00, or as seconds.",
        "a.csv:3: day: not a time (got 'soon'). Write it as 2026-11-25T14:30:00, or as seconds.",
        "a.csv:4: day: not a time (got 'soon'). Write it as 2026-11-25T14:30:00, or as seconds.",
        "a.csv:5: day: not a time (got 'soon'). Write it as 2026-11-25T14:30:00, or as seconds.",
        time="day",
    ),
    file(
        "too few rows to cut",
        "a.csv",
        CSV,
        "datasets/mine/dataset.yaml: source: 4 rows in 4 groups cannot be cut into train, dev, test. Groups stay whole: add rows, or name files for the other splits.",
    ),
]
