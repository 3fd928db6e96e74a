"""Faulty files, the options they are forked with, and the faults that must be reported.

A fault is written as `code file:line key`, with `-` where no file is named. The words that a person sees are
in tests/fixtures/fault_messages.txt.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import zstandard

Content = bytes | str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, Content]
    faults: list[str]
    options: dict[str, str] = field(default_factory=dict)
    data: str = ""


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def calls(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}


TALK = [user("Is the door shut?"), assistant("It is.")]
GOOD_TALKS = [{"messages": [user(f"Question {n}?"), assistant(f"Answer {n}.")]} for n in range(3)]
GPT = {"conversations": [{"from": "human", "value": "Hello there?"}, {"from": "gpt", "value": "Hello."}]}
QA = {"question": "Where is it?", "context": "It is in the shed.", "answers": ["in the shed"]}
LABELS = [
    {"text": f"the kettle {word} again", "label": "ab"[n % 2]}
    for n, word in enumerate("drips leaks hums roars".split())
]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in LABELS)
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
    good = {"id": "q1", "question": "Where is it?", "answers": [{"text": "in the shed", "answer_start": 6}]}
    paragraph = {"context": "It is in the shed.", "qas": [{**good, **question}]}
    return {"version": "v2.0", "data": [{"title": "Shed", "paragraphs": [paragraph]}]}


def talks(*messages: Any) -> list[Any]:
    """Return three good conversations and one of these messages, on line 4."""
    return [*GOOD_TALKS, {"messages": list(messages)}]


def jsonl(name: str, rows: list[Any], *faults: str, **options: str) -> Case:
    return Case(name, {"a.jsonl": rows}, list(faults), options)


def file(name: str, path: str, content: Content, *faults: str, **options: str) -> Case:
    return Case(name, {path: content}, list(faults), options)


CASES = [
    # Files
    file("unknown kind", "a.txt", "hello", "data.unknown_kind a.txt"),
    file("old Excel", "a.xls", b"\xd0\xcf\x11\xe0", "data.unknown_kind a.xls"),
    file("not gzip", "a.jsonl.gz", b"plain", "data.not_compressed a.jsonl.gz"),
    file("gzip cut off", "a.jsonl.gz", gzip.compress(LINES.encode())[:-9], "data.cut_off a.jsonl.gz"),
    file("not Zstandard", "a.csv.zst", b"plain text here", "data.not_compressed a.csv.zst"),
    file("Zstandard cut off", "a.csv.zst", zstandard.compress(TABLE.encode())[:-6], "data.cut_off a.csv.zst"),
    file("UTF-16 cut off", "a.csv", CSV.encode("utf-16")[:-1], "data.not_utf16 a.csv"),
    file("Latin-1 CSV", "a.csv", (CSV + "caf\u00e9 au lait,a\n").encode("latin-1"), "rows.not_utf8 a.csv:6"),
    file(
        "Latin-1 JSONL",
        "a.jsonl",
        b'{"text": "a b", "label": "a"}\n{"text": "caf\xe9 b", "label": "b"}\n',
        "rows.not_utf8 a.jsonl:2",
    ),
    file("Latin-1 header", "a.csv", "pr\u00e9nom,label\nAda,b\n".encode("latin-1"), "rows.not_utf8 a.csv:1"),
    file("empty JSONL", "a.jsonl", "\n\n", "data.no_rows - DATA"),
    file("empty CSV", "a.csv", "", "data.no_header a.csv"),
    file("CSV with a header only", "a.csv", "text,label\n", "data.no_rows - DATA"),
    file("too many columns", "a.csv", CSV + "one, two,a\n", "rows.column_count a.csv:6"),
    file("too few columns", "a.csv", CSV + "alone\n", "rows.column_count a.csv:6"),
    file(
        "a row after a text of two lines",
        "a.csv",
        CSV + '"two\nlines",a\nalone\n',
        "rows.column_count a.csv:8",
    ),
    file("quote never closed", "a.csv", CSV + 'five,"a\n', "data.not_csv a.csv:6"),
    file("two columns of one name", "a.csv", "text,text\na,b\n", "data.repeated_column a.csv:1"),
    file("no JSON", "a.jsonl", '{"messages": [\n', "rows.not_json a.jsonl:1"),
    file("JSON list in JSONL", "a.jsonl", [*GOOD_TALKS, [1]], "rows.not_an_object a.jsonl:4"),
    file("text in JSONL", "a.jsonl", [*GOOD_TALKS, "hello"], "rows.not_an_object a.jsonl:4"),
    file(
        "half a surrogate pair",
        "a.jsonl",
        '{"prompt": "a", "completion": "\\ud83d"}\n',
        "rows.bad_surrogate a.jsonl:1",
    ),
    file("nested too deeply", "a.jsonl", "[" * 100_000 + "\n", "rows.nested_too_deeply a.jsonl:1"),
    file("a document nested too deeply", "a.json", "[" * 100_000, "rows.nested_too_deeply a.json:1"),
    file(
        "a row nested too deeply",
        "a.jsonl",
        json.dumps(GOOD_TALKS[0]) + "\n" + '{"a":' * 101 + "1" + "}" * 101 + "\n",
        "rows.nested_too_deeply a.jsonl:2",
    ),
    file(
        "a number that is too long",
        "a.jsonl",
        json.dumps(GOOD_TALKS[0]) + '\n{"n": ' + "7" * 4301 + "}\n",
        "rows.number_too_long a.jsonl:2",
    ),
    file(
        "a number that is too long, in a document",
        "a.json",
        '[\n{"prompt": "a", "completion": "b"},\n{"n": ' + "7" * 4301 + "}]",
        "rows.number_too_long a.json:3",
    ),
    file(
        "the newest turn first",
        "a.jsonl",
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": "a", "created_at": "2026-03-02T10:05:00Z"},
                    {"role": "assistant", "content": "b", "created_at": "2026-03-02T10:04:00Z"},
                ]
            }
        )
        + "\n",
        "rows.newest_first a.jsonl:1 messages",
    ),
    file(
        "a key twice in a row",
        "a.jsonl",
        json.dumps(GOOD_TALKS[0]) + '\n{"prompt": "a", "completion": "b", "completion": "c"}\n',
        "rows.repeated_key a.jsonl:2 completion",
    ),
    file(
        "a key twice in a turn",
        "a.json",
        '[\n{"messages": [{"role": "user", "content": "a", "content": "b"}]}]',
        "rows.repeated_key a.json:2 content",
    ),
    file(
        "a key twice in a cell",
        "a.csv",
        'prompt,completion,history\na,b,[]\na,b,"[{""role"": ""user"", ""role"": ""user""}]"\n',
        "rows.field_not_json a.csv:3 history",
    ),
    file(
        "JSON document cut off",
        "a.json",
        '[\n{"prompt": "a", "completion": "b"},\n{"prompt": "c"',
        "data.not_json_list a.json:3",
    ),
    file(
        "JSON document with a fault",
        "a.json",
        '[\n{"prompt": "a", "completion": "b"},\n{"prompt": nothing}]',
        "data.not_json_list a.json:3",
    ),
    file("JSON document of numbers", "a.json", "[1, 2]", "data.no_rows - DATA"),
    file("JSON document without a list", "a.json", '{"prompt": "a"}', "data.not_json_list a.json:1"),
    file(
        "JSON document of two splits",
        "a.json",
        '{"one": [{"prompt": "a", "completion": "b"}],\n"more": [{"prompt": "c", "completion": "d"}]}',
        "data.not_json_list a.json:2",
    ),
    file(
        "JSON document and more",
        "a.json",
        '[{"prompt": "a", "completion": "b"}]\n]',
        "data.not_json_list a.json:2",
    ),
    file("not Parquet", "a.parquet", b"PAR1?", "data.not_parquet a.parquet"),
    file("not Excel", "a.xlsx", b"PK?", "data.not_excel a.xlsx"),
    file("empty sheet", "a.xlsx", [[None]], "data.no_header a.xlsx"),
    # Conversations
    jsonl(
        "unknown role",
        talks({"role": "asistant", "content": "x"}),
        "rows.unknown_role a.jsonl:4 messages[0].role",
    ),
    jsonl(
        "role like no other",
        talks({"role": "narrator", "content": "x"}),
        "rows.unknown_role a.jsonl:4 messages[0].role",
    ),
    jsonl("no role", talks({"content": "x"}), "rows.no_role a.jsonl:4 messages[0]"),
    jsonl("no text", talks({"role": "user"}), "rows.no_text a.jsonl:4 messages[0]"),
    jsonl("turn is no object", talks("hello"), "rows.not_a_turn a.jsonl:4 messages[0]"),
    jsonl("empty messages", talks(), "rows.not_turns a.jsonl:4 messages"),
    jsonl("messages is text", [*GOOD_TALKS, {"messages": "hello"}], "rows.not_turns a.jsonl:4 messages"),
    jsonl("messages missing", [*GOOD_TALKS, {"message": TALK}], "rows.missing_field a.jsonl:4 messages"),
    jsonl(
        "empty content", talks(user("Hm?"), assistant(" ")), "rows.empty_text a.jsonl:4 messages[1].content"
    ),
    jsonl(
        "content is null",
        talks(user("Hm?"), assistant(None)),
        "rows.empty_text a.jsonl:4 messages[1].content",
    ),
    jsonl(
        "content is a number of objects",
        talks(user({"a": 1}), assistant("x")),
        "rows.not_text a.jsonl:4 messages[0].content",
    ),
    jsonl(
        "picture in a turn",
        talks(user([{"type": "text", "text": "Look:"}, {"type": "image_url"}]), assistant("x")),
        "rows.not_text a.jsonl:4 messages[0].content[1]",
    ),
    jsonl("user twice", talks(user("a"), user("b"), assistant("c")), "rows.turn_order a.jsonl:4 messages[1]"),
    jsonl("assistant first", talks(assistant("a"), user("b")), "rows.turn_order a.jsonl:4 messages[0]"),
    jsonl("user last", talks(user("a"), assistant("b"), user("c")), "rows.last_turn a.jsonl:4 messages[2]"),
    jsonl("system only", talks({"role": "system", "content": "x"}), "rows.no_user_turn a.jsonl:4 messages"),
    jsonl(
        "system in the middle",
        talks(user("a"), {"role": "system", "content": "x"}, assistant("b")),
        "rows.system_not_first a.jsonl:4 messages[1]",
    ),
    jsonl(
        "weight of a half",
        talks(user("a"), assistant("b", weight=0.5)),
        "rows.bad_weight a.jsonl:4 messages[1].weight",
    ),
    jsonl(
        "weight of a user",
        talks(user("a", weight=1), assistant("b")),
        "rows.bad_weight a.jsonl:4 messages[0].weight",
    ),
    jsonl(
        "all weights 0", talks(user("a"), assistant("b", weight=0)), "rows.nothing_trained a.jsonl:4 messages"
    ),
    jsonl(
        "a tool without a name",
        [*GOOD_TALKS, {"messages": TALK, "tools": [{"type": "function"}]}],
        "rows.tool_without_name a.jsonl:4 tools[0]",
    ),
    jsonl(
        "tools that are no list",
        [*GOOD_TALKS, {"messages": TALK, "tools": {"name": "tide"}}],
        "rows.bad_tools a.jsonl:4 tools",
    ),
    jsonl(
        "a call without a name",
        talks(user("a"), {"role": "assistant", "tool_calls": [{"id": "c1"}]}),
        "rows.call_without_name a.jsonl:4 messages[1].tool_calls[0]",
    ),
    jsonl(
        "arguments that are no JSON",
        talks(user("a"), calls("tide", "at noon")),
        "rows.field_not_json a.jsonl:4 messages[1].tool_calls[0].arguments",
    ),
    jsonl(
        "arguments that are no object",
        talks(user("a"), calls("tide", "[1]")),
        "rows.bad_arguments a.jsonl:4 messages[1].tool_calls[0].arguments",
    ),
    jsonl(
        "a call of a tool that is not offered",
        [*GOOD_TALKS, {"messages": [user("a"), calls("tides", "{}")], "tools": [{"name": "tide"}]}],
        "rows.unknown_tool a.jsonl:4 messages",
    ),
    jsonl(
        "a call by the user",
        talks({**calls("tide", "{}"), "role": "user"}, assistant("b")),
        "rows.call_by_user a.jsonl:4 messages[0].tool_calls",
    ),
    jsonl(
        "a call that no tool answers",
        talks(user("a"), calls("tide", "{}"), user("b"), assistant("c")),
        "rows.turn_order a.jsonl:4 messages[2]",
    ),
    jsonl(
        "a tool that nobody called",
        talks(user("a"), {"role": "tool", "content": "1"}, assistant("b")),
        "rows.turn_order a.jsonl:4 messages[1]",
    ),
    jsonl(
        "an answer of a tool at the end",
        talks(user("a"), calls("tide", "{}"), {"role": "tool", "content": "1"}),
        "rows.last_turn a.jsonl:4 messages[2]",
    ),
    jsonl(
        "ShareGPT: odd role",
        [GPT, {"conversations": [{"from": "humam", "value": "x"}]}],
        "rows.unknown_role a.jsonl:2 conversations[0].from",
    ),
    jsonl("ShareGPT: no value", [GPT, {"conversations": [{"from": "human"}]}], "fork.unknown_columns - DATA"),
    jsonl(
        "ShareGPT: assistant first",
        [GPT, {"conversations": GPT["conversations"][::-1]}],
        "rows.turn_order a.jsonl:2 conversations[0]",
    ),
    jsonl("repeated id", [{"id": "a", **talk} for talk in GOOD_TALKS], "fork.repeated_id - --group (GROUP=)"),
    file(
        "SQuAD: repeated id", "a.json", {"data": squad()["data"] * 2}, "rows.repeated_id a.json:1 data[1].id"
    ),
    jsonl(
        "two faults",
        talks(user(""), assistant("x")) + [{"messages": [assistant("x")]}],
        "rows.empty_text a.jsonl:4 messages[0].content",
        "rows.turn_order a.jsonl:5 messages[0]",
    ),
    # Pairs
    jsonl(
        "Alpaca: no output", [ALPACA, {"instruction": "Name a lake."}], "rows.missing_field a.jsonl:2 output"
    ),
    jsonl("Alpaca: empty output", [ALPACA, {**ALPACA, "output": ""}], "rows.empty_text a.jsonl:2 output"),
    jsonl(
        "Alpaca: output is a list",
        [ALPACA, {**ALPACA, "output": ["a", "b"]}],
        "rows.not_text a.jsonl:2 output",
    ),
    jsonl(
        "Alpaca: input is an object", [ALPACA, {**ALPACA, "input": {"a": 1}}], "rows.not_text a.jsonl:2 input"
    ),
    jsonl("no prompt", [PAIR, {"completion": "x"}], "rows.missing_field a.jsonl:2 prompt"),
    jsonl(
        "empty completion",
        [PAIR, {"prompt": "x", "completion": "\n"}],
        "rows.empty_text a.jsonl:2 completion",
    ),
    jsonl(
        "preference: nothing chosen",
        [PREFERENCE, {**PREFERENCE, "chosen": ""}],
        "rows.empty_text a.jsonl:2 chosen",
    ),
    jsonl(
        "preference: no rejected",
        [PREFERENCE, {"prompt": "a", "chosen": "b"}],
        "rows.missing_field a.jsonl:2 rejected",
    ),
    # Questions on passages
    file(
        "SQuAD: answer not in the passage",
        "a.json",
        squad(answers=[{"text": "at sea"}]),
        "rows.answer_not_in_context a.json:1 data[0].paragraphs[0].qas[0].answers[0]",
    ),
    file(
        "SQuAD: no answer and not impossible",
        "a.json",
        squad(answers=[]),
        "rows.no_answer a.json:1 data[0].paragraphs[0].qas[0].answers",
    ),
    file(
        "SQuAD: impossible and answered",
        "a.json",
        squad(is_impossible=True),
        "rows.impossible_answered a.json:1 data[0].paragraphs[0].qas[0].is_impossible",
    ),
    file(
        "SQuAD: empty question",
        "a.json",
        squad(question=" "),
        "rows.empty_text a.json:1 data[0].paragraphs[0].qas[0].question",
    ),
    file(
        "SQuAD: no answers",
        "a.json",
        squad(answers=None),
        "rows.not_objects a.json:1 data[0].paragraphs[0].qas[0].answers",
    ),
    file(
        "SQuAD: no questions",
        "a.json",
        {"data": [{"title": "x", "paragraphs": [{"context": "y"}]}]},
        "rows.not_objects a.json:1 data[0].paragraphs[0].qas",
    ),
    file(
        "SQuAD: no passage",
        "a.json",
        {"data": [{"title": "x", "paragraphs": [{"qas": [{}]}]}]},
        "rows.empty_text a.json:1 data[0].paragraphs[0].context",
    ),
    jsonl("no passage", [QA, {**QA, "context": ""}], "rows.empty_text a.jsonl:2 context"),
    jsonl(
        "answers like a list",
        [QA, {**QA, "answers": "['in the shed'"}],
        "rows.field_not_json a.jsonl:2 answers",
    ),
    jsonl("an empty answer", [QA, {**QA, "answers": ["in", " "]}], "rows.empty_text a.jsonl:2 answers[1]"),
    jsonl("answers missing", [QA, {"question": "a", "context": "b"}], "rows.missing_field a.jsonl:2 answers"),
    # Labels
    file("no label", "a.csv", CSV + "the kettle sings again,\n", "rows.empty_text a.csv:6 label"),
    file("empty text", "a.csv", CSV + ",a\n", "rows.empty_text a.csv:6 text"),
    jsonl(
        "label is a list",
        [*LABELS, {"text": "the kettle sings again", "label": ["a", "b"]}],
        "labels.several_in_one a.jsonl:5 label",
        fields="text=text label=label",
    ),
    jsonl(
        "label missing", [*LABELS, {"text": "the kettle sings again"}], "rows.missing_field a.jsonl:5 label"
    ),
    Case(
        "label only in test",
        {"train.csv": CSV, "test.csv": "text,label\nwho is it,c\n"},
        ["labels.not_in_train test.csv:2 label"],
        data=".",
    ),
    Case(
        "two files may be test",
        {"train.csv": CSV, "test-a.csv": CSV, "test-b.csv": CSV},
        ["fork.ambiguous_file - DATA"],
        data=".",
    ),
    Case("no file called like a split", {"a.csv": CSV, "b.csv": CSV}, ["fork.no_train - DATA"], data="."),
    Case("no train", {"dev.csv": CSV, "test.csv": CSV}, ["fork.no_train - DATA"], data="."),
    Case("a file that is not there", {"a.csv": CSV}, ["fork.no_such_file - DATA"], data="b.csv"),
    Case(
        "splits by hand: not there",
        {"a.csv": CSV},
        ["fork.no_such_file - DATA"],
        data="train=a.csv test=b.csv",
    ),
    Case("splits by hand: no split", {"a.csv": CSV}, ["option.bad_data - DATA"], data="trian=a.csv"),
    # What is what
    file("no column of texts", "a.csv", "one,two\nx,y\nz,w\n", "fork.no_texts - DATA"),
    file("no column known", "a.csv", "one,two\nx y,1\nz w,2\n", "fork.unknown_columns - DATA"),
    file(
        "a field that makes no layout",
        "a.csv",
        "one,two\nx y,1\nz w,2\n",
        "fork.fields_of_no_layout - --fields (FIELDS=)",
        fields="question=one",
    ),
    file(
        "no header",
        "a.csv",
        "the kettle drips,broken\nthe kettle leaks,broken\nit hums,fine\nit sings,fine\n",
        "data.no_header - DATA",
    ),
    file(
        "two labels",
        "a.csv",
        "text,topic,sentiment\na b,x,p\nc d,y,n\ne f,x,n\ng h,y,p\n",
        "fork.ambiguous_columns - --fields (FIELDS=)",
    ),
    file(
        "two texts",
        "a.csv",
        "text,body,label\na b,c d,x\ne f,g h,y\ni j,k l,x\nm n,o p,y\n",
        "fork.ambiguous_columns - --fields (FIELDS=)",
    ),
    file(
        "two groups",
        "a.csv",
        "text,label,customer,ticket\n"
        + "".join(f"t {n},{'xy'[n % 2]},c{n // 2},t{n // 3}\n" for n in range(8)),
        "fork.ambiguous_group - --group (GROUP=)",
    ),
    jsonl(
        "two lists of turns",
        [{"messages": TALK, "conversations": TALK}] * 2,
        "fork.ambiguous_columns - --fields (FIELDS=)",
    ),
    file("another task", "a.csv", CSV, "fork.other_task - DATA", task="qa"),
    jsonl("two tasks", [{**QA, "messages": TALK}] * 3, "fork.ambiguous_task - --task (TASK=)"),
    file("FIELDS of no field", "a.csv", CSV, "option.unknown_field - --fields (FIELDS=)", fields="txt=text"),
    file(
        "FIELDS of no column",
        "a.csv",
        CSV,
        "option.unknown_column - --fields (FIELDS=)",
        fields="label=topic",
    ),
    file("FIELDS without =", "a.csv", CSV, "option.bad_fields - --fields (FIELDS=)", fields="label"),
    file("GROUP of no column", "a.csv", CSV, "option.unknown_column - --group (GROUP=)", group="customer"),
    file("TASK of no task", "a.csv", CSV, "option.bad_task - --task (TASK=)", task="chess"),
    file(
        "TIME that is no time",
        "a.csv",
        CSV.replace("text,", "day,text,").replace("\nthe", "\nsoon,the"),
        "option.not_a_time - --time (TIME=)",
        time="day",
    ),
    file("too few rows to cut", "a.csv", CSV, "split.too_few_groups datasets/mine/dataset.yaml source"),
]
