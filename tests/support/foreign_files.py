"""Files as public datasets and other people's tools write them: what each is read as, or its fault.

The rows are our own. `expected` is written without Tunebook's readers: the turns of each row (`U: `, `A: `,
`A0: ` and `A1: ` with a weight, `R: ` the rejected answer), in any order. `fault` is the code of a refusal,
`says` words that its next step has to have.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import random
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNT = 60
WORDS = """amber birch cobalt dune ember fjord gorse heron inlet jetty kelp larch moor nettle osprey plover
quay reed sedge tarn umber vole wharf yarrow""".split()
LABELS = ("calm", "storm", "fog")
LABEL, PAIR, QA = "classify-lora", "chat-dpo", "qa-lora"
Row = dict[str, Any]
Write = Callable[[Path], Path]


def _some(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).sample(WORDS, count))


def ask(n: int) -> str:
    return f"Is {_some(n + 999, 7)} number {n} open?"


def say(n: int) -> str:
    return f"Sluice {n} {_some(-n, 6)}."


def bad(n: int) -> str:
    return f"I cannot say anything on {WORDS[n * 5 % 24]} {n}."


def text(n: int) -> str:
    return f"barge {n} {_some(n, 8)}"


def label(n: int) -> str:
    return LABELS[n % 3]


@dataclass(frozen=True)
class Case:
    """A file, the recipe that is forked, its options, and what comes of it."""

    name: str
    write: Write
    origin: str = "chat-lora"
    expected: list[tuple[str, ...]] = field(default_factory=list)
    fault: str = ""
    says: str = ""
    options: Row = field(default_factory=dict)


def each(*turns: Callable[[int], str]) -> list[tuple[str, ...]]:
    return [tuple(turn(n) for turn in turns) for n in range(COUNT)]


def user(content: Callable[[int], str]) -> Callable[[int], str]:
    return lambda n: f"U: {content(n)}"


def answer(content: Callable[[int], str], mark: str = "A") -> Callable[[int], str]:
    return lambda n: f"{mark}: {content(n)}"


ASKED = each(user(ask), answer(say))
LABELLED = each(user(text), answer(label))
PAIRS = each(user(ask), answer(say), answer(bad, "R"))


def first(n: int) -> str:
    """The good answer in even rows, the bad one in odd rows; `second` is the other."""
    return (say, bad)[n % 2](n)


def second(n: int) -> str:
    return (bad, say)[n % 2](n)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(row: Callable[[int], Any], name: str = "a.jsonl", end: str = "\n") -> Write:
    return lambda folder: put(
        folder, name, "".join(json.dumps(row(n), ensure_ascii=False) + end for n in range(COUNT))
    )


def document(
    row: Callable[[int], Any], wrap: Callable[[list[Any]], Any] = list, name: str = "a.json"
) -> Write:
    return lambda folder: put(folder, name, json.dumps(wrap([row(n) for n in range(COUNT)])))


def table(
    names: list[str] | None,
    row: Callable[[int], tuple[Any, ...]],
    name: str = "a.csv",
    by: str = ",",
    encoding: str = "utf-8",
) -> Write:
    def write(folder: Path) -> Path:
        file = io.StringIO()
        csv.writer(file, delimiter=by).writerows(([names] if names else []) + [row(n) for n in range(COUNT)])
        return put(folder, name, file.getvalue().encode(encoding))

    return write


def frame(
    change: Callable[[Any], Any] = lambda made: made, how: str = "to_parquet", kind: str = "parquet"
) -> Write:
    """Write text and label with pandas, after `change`."""

    def write(folder: Path) -> Path:
        import pandas

        made = pandas.DataFrame(
            {"text": [text(n) for n in range(COUNT)], "label": [label(n) for n in range(COUNT)]}
        )
        getattr(change(made), how)(folder / f"a.{kind}")
        return folder / f"a.{kind}"

    return write


def sheet(names: list[str], row: Callable[[int], list[Any]], form: str = "General") -> Write:
    def write(folder: Path) -> Path:
        import openpyxl

        book = openpyxl.Workbook()
        for cells in [names, *(row(n) for n in range(COUNT))]:
            book.active.append(cells)
        for cell in book.active["B"][1:]:
            cell.number_format = form
        book.save(folder / "a.xlsx")
        return folder / "a.xlsx"

    return write


def several(*parts: Write, at: str = "") -> Write:
    """Write several files, and return the folder `at`."""

    def write(folder: Path) -> Path:
        for part in parts:
            part(folder)
        return folder / at

    return write


def zipped(row: Callable[[int], str]) -> Write:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for n in range(COUNT):
                archive.writestr(row(n), text(n))
        return folder / "a.zip"

    return write


def tarred(folder: Path) -> Path:
    table(["text", "label"], lambda n: (text(n), label(n)), "d/train.csv")(folder)
    with tarfile.open(folder / "d.tar.gz", "w:gz") as archive:
        archive.add(folder / "d", "d")
    return folder / "d.tar.gz"


def database(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "a.sqlite")
    connection.execute("create table tickets (text, label)")
    connection.commit()
    connection.close()
    return folder / "a.sqlite"


def shards(folder: Path) -> Path:
    """A clone of a repository of the Hub: Parquet parts in data/, and the names of classes in its card."""
    import pyarrow
    import pyarrow.parquet

    (folder / "r" / "data").mkdir(parents=True)
    for split in ("train", "test"):
        made = {"text": [f"{split} {text(n)}" for n in range(COUNT)], "label": [n % 3 for n in range(COUNT)]}
        path = folder / "r" / "data" / f"{split}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(pyarrow.table(made), path)
    names = "".join(f"          '{number}': {name}\n" for number, name in enumerate(LABELS))
    card = (
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    )
    put(folder, "r/README.md", f"{card}{names}---\n# R\n")
    return folder / "r"


def encoded(folder: Path) -> Path:
    """Parquet with a dictionary, large strings and a map."""
    import pyarrow
    import pyarrow.parquet

    made = {
        "text": pyarrow.array([text(n) for n in range(COUNT)]).dictionary_encode(),
        "label": pyarrow.array([label(n) for n in range(COUNT)], pyarrow.large_string()),
        "more": pyarrow.array([[("k", "v")]] * COUNT, pyarrow.map_(pyarrow.string(), pyarrow.string())),
    }
    pyarrow.parquet.write_table(pyarrow.table(made), folder / "a.parquet")
    return folder / "a.parquet"


def typed(made: Any) -> Any:
    """Columns of kinds that JSON does not have, beside text and label."""
    return made.assign(
        price=[decimal.Decimal("4.50")] * COUNT,
        day=[datetime.date(2024, 3, 1)] * COUNT,
        at=[datetime.datetime(2024, 3, 1, 10)] * COUNT,
        raw=[b"\x00\xff"] * COUNT,
    )


def openai(*turns: tuple[str, str]) -> list[Row]:
    return [{"role": role, "content": content} for role, content in turns]


def talk(n: int) -> list[Row]:
    return openai(("user", ask(n)), ("assistant", say(n)))


def other(name: str) -> Case:
    """A file of a kind that is not read."""
    return Case(
        f"a {name} file", lambda folder: put(folder, f"a.{name}", "x y\n"), LABEL, fault="data.unknown_kind"
    )


def joined(by: str) -> Case:
    """Rows of which half have two labels, joined."""
    made = table(
        ["text", "label"],
        lambda n: (text(n), label(n) if n % 2 else by.join((label(n), label(n + 1)))),
    )
    return Case(f"labels joined by {by!r}", made, LABEL, fault="labels.several_in_one", says="LABELS=whole")


def listed(name: str, write: Callable[[list[str]], str]) -> Case:
    """Rows of which half have two labels, in a list."""
    made = table(
        ["text", "labels"],
        lambda n: (text(n), write([label(n)] if n % 2 else [label(n), label(n + 1)])),
    )
    return Case(f"labels as {name}", made, LABEL, fault="labels.several_in_one", says="Keep one")


SPLIT_NAMES = ("train", "train", "train", "validation", "test")
PATHS = ("Boats > Barge", "Boats > Canoe", "Shore > Quay")
FAMILY = " \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f"

CASES = [
    # Tables of texts and labels
    Case(
        "AG News: no header",
        table(None, lambda n: (n % 3 + 1, f"Title {n}", text(n))),
        LABEL,
        fault="data.no_header",
        says='HEADER=none FIELDS="label=1 text=3"',
    ),
    Case(
        "AG News: title and description joined",
        table(None, lambda n: (n % 3 + 1, f"Title {n}", text(n))),
        LABEL,
        each(lambda n: f"U: Title {n}\n\n{text(n)}", lambda n: f"A: {n % 3 + 1}"),
        options={"fields": "text=column_2+column_3 label=1", "header": "none"},
    ),
    Case(
        "Sentiment140: Latin-1 without a header",
        table(None, lambda n: (n % 2 * 4, 14678 + n, f"{text(n)} caf\u00e9"), encoding="latin-1"),
        LABEL,
        fault="rows.not_utf8",
        says="ENCODING=cp1252",
    ),
    Case(
        "SMS spam: no suffix",
        table(None, lambda n: (("ham", "spam")[n % 2], text(n)), "SMSSpamCollection", "\t"),
        LABEL,
        fault="data.unknown_kind",
        says="DELIMITER=tab",
    ),
    Case(
        "fastText",
        lambda folder: put(
            folder, "train.txt", "".join(f"__label__{label(n)} {text(n)}\n" for n in range(COUNT))
        ),
        LABEL,
        fault="data.unknown_kind",
        says="json.dumps",
    ),
    Case(
        "GoEmotions: one combination of labels",
        table(["text", "labels"], lambda n: (text(n), "27" if n % 3 else ("2,8", "8", "2")[n // 3 % 3])),
        LABEL,
        fault="labels.several_in_one",
        says="LABELS=whole",
    ),
    Case(
        "Jigsaw: a column for each label",
        table(["comment_text", "toxic", "obscene"], lambda n: (text(n), n % 2, int(n % 3 == 1))),
        LABEL,
        fault="labels.several_columns",
        says='FIELDS="label=toxic"',
    ),
    Case(
        "CoLA: no header",
        table(None, lambda n: ("gj04", n % 2, "" if n % 2 else "*", text(n)), "in_domain_train.tsv", "\t"),
        LABEL,
        fault="data.no_header",
        says='FIELDS="label=2 text=4"',
    ),
    Case(
        "SST-2",
        table(["sentence", "label"], lambda n: (text(n), n % 2), "train.tsv", "\t"),
        LABEL,
        each(user(text), lambda n: f"A: {n % 2}"),
    ),
    Case(
        "SNLI",
        lines(lambda n: {"gold_label": label(n), "sentence1": text(n), "sentence2": ask(n)}),
        LABEL,
        each(lambda n: f"U: {text(n)}\n\n{ask(n)}", lambda n: f"A: {label(n)}"),
    ),
    Case(
        "SNLI: both halves",
        lines(lambda n: {"gold_label": label(n), "sentence1": text(n), "sentence2": ask(n)}),
        LABEL,
        each(lambda n: f"U: {text(n)}\n\n{ask(n)}", answer(label)),
        options={"fields": "text=sentence1+sentence2 label=gold_label"},
    ),
    Case(
        "STS-B: scores",
        table(["sentence1", "sentence2", "score"], lambda n: (text(n), ask(n), n % 11 / 2)),
        LABEL,
        fault="labels.too_many",
        says="74 rows or more",
    ),
    Case(
        "WinoGrande",
        lines(
            lambda n: {"sentence": text(n), "option1": "barge", "option2": "quay", "answer": str(n % 2 + 1)}
        ),
        LABEL,
        fault="fork.needs_conversion",
        says="each with its letter",
    ),
    Case(
        "HellaSwag",
        lines(lambda n: {"ctx": text(n), "endings": [ask(n), say(n)], "label": str(n % 2)}),
        LABEL,
        fault="fork.needs_conversion",
        says="each with its letter",
    ),
    Case(
        "MMLU: columns A to D",
        table(["question", "A", "B", "C", "D", "answer"], lambda n: (ask(n), 1, 2, 3, 4, "ABCD"[n % 4])),
        fault="rows.meaning_not_read",
        says="DROP=",
    ),
    Case(
        "MedMCQA",
        lines(lambda n: {"question": ask(n), "opa": "a b", "opb": "c d", "cop": n % 4, "exp": say(n)}),
        fault="fork.needs_conversion",
        says="each with its letter",
    ),
    Case(
        "BoolQ",
        lines(lambda n: {"question": ask(n), "answer": n % 2 == 0, "passage": text(n)}),
        QA,
        each(lambda n: f"U: {text(n)}\n\n{ask(n)}", lambda n: f"A: {('true', 'false')[n % 2]}"),
    ),
    Case(
        "IMDB",
        table(["review", "sentiment"], lambda n: (f"{text(n)} <br />\u201cgood\u201d.", label(n))),
        LABEL,
        each(lambda n: f"U: {text(n)} <br />\u201cgood\u201d.", answer(label)),
    ),
    Case(
        "tweets with joined emoji, escaped",
        document(lambda n: {"text": text(n) + FAMILY, "label": label(n)}),
        LABEL,
        each(lambda n: f"U: {text(n)}{FAMILY}", answer(label)),
    ),
    Case(
        "German names, semicolons",
        table(["Nachricht", "Kategorie"], lambda n: (text(n), label(n)), by=";"),
        LABEL,
        LABELLED,
    ),
    Case(
        "Chinese names",
        table(["\u6587\u672c", "\u6807\u7b7e"], lambda n: (text(n), label(n))),
        LABEL,
        LABELLED,
    ),
    Case(
        "labels that are paths",
        table(["text", "label"], lambda n: (text(n), PATHS[n % 3])),
        LABEL,
        each(user(text), lambda n: f"A: {PATHS[n % 3]}"),
    ),
    Case(
        "a column of splits",
        table(["text", "label", "split"], lambda n: (text(n), label(n), SPLIT_NAMES[n % 5])),
        LABEL,
        LABELLED,
    ),
    *map(joined, (";", ", ", " / ", "\n", " and ", "||", " ", "#", "\u3001", "\t")),
    listed("a Python set", lambda some: "{'" + "', '".join(some) + "'}"),
    listed("numpy writes them", lambda some: "['" + "' '".join(some) + "']"),
    listed("a list without quotes", lambda some: f"[{', '.join(some)}]"),
    listed("JSON", json.dumps),
    listed("a tuple", lambda some: repr(tuple(some))),
    listed("an object of 0 and 1", lambda some: json.dumps({name: int(name in some) for name in LABELS})),
    Case(
        "labels as bits",
        table(["text", "label"], lambda n: (text(n), ("110", "010", "001")[n % 3])),
        LABEL,
        fault="labels.several_in_one",
        says="LABELS=whole",
    ),
    # Tools of annotation
    Case(
        "Label Studio",
        document(
            lambda n: {
                "id": n,
                "data": {"text": text(n)},
                "annotations": [
                    {
                        "was_cancelled": False,
                        "result": [{"value": {"choices": [label(n)]}, "from_name": "s", "type": "choices"}],
                    }
                ],
                "predictions": [],
            }
        ),
        LABEL,
        LABELLED,
    ),
    Case(
        "Label Studio: two annotators",
        document(
            lambda n: {
                "data": {"text": text(n)},
                "annotations": [
                    {"result": [{"value": {"choices": [label(n)]}, "type": "choices"}]} for _ in range(2)
                ],
            }
        ),
        LABEL,
        fault="rows.several_inside",
        says="Drop the row",
    ),
    Case(
        "Label Studio: JSON-MIN",
        document(
            lambda n: {"text": text(n), "id": n, "sentiment": label(n), "annotator": 1, "lead_time": 3.5}
        ),
        LABEL,
        LABELLED,
    ),
    Case(
        "Prodigy: rejected",
        lines(lambda n: {"text": text(n), "label": label(n), "answer": ("accept", "reject")[n % 2]}),
        LABEL,
        fault="rows.meaning_not_read",
        says="answer == 'accept'",
    ),
    Case(
        "Prodigy: choices",
        lines(lambda n: {"text": text(n), "options": [{"id": "fog"}], "accept": [label(n)]}),
        LABEL,
        LABELLED,
        options={"drop": "options"},
    ),
    Case("doccano", lines(lambda n: {"id": n, "text": text(n), "label": [label(n)]}), LABEL, LABELLED),
    Case(
        "doccano: places",
        lines(lambda n: {"id": n, "text": text(n), "label": [[0, 5, "ORG"]]}),
        LABEL,
        fault="fork.needs_conversion",
        says="one label per text",
    ),
    Case(
        "doccano: texts",
        lines(lambda n: {"id": n, "text": ask(n), "label": [say(n)]}),
        expected=ASKED,
        options={"fields": "prompt=text completion=label"},
    ),
    Case(
        "Argilla 2",
        lines(
            lambda n: {
                "id": str(n),
                "fields": {"text": text(n)},
                "responses": {"label": [{"value": label(n), "user_id": "u"}]},
            }
        ),
        LABEL,
        LABELLED,
        options={"fields": "text=fields.text label=responses.label.value"},
    ),
    Case(
        "Rasa: JSON",
        document(
            lambda n: {"text": text(n), "intent": label(n), "entities": []},
            lambda rows: {"rasa_nlu_data": {"regex_features": [], "common_examples": rows}},
        ),
        LABEL,
        LABELLED,
    ),
    Case(
        "LUIS: two lists",
        document(
            lambda n: {"text": text(n), "intent": label(n)},
            lambda rows: {"intents": [{"name": "fog"}], "utterances": rows},
        ),
        LABEL,
        fault="data.not_json_list",
        says='DATA="train=FILE#utterances"',
    ),
    # Files, folders and archives
    Case(
        "Kaggle: train, test, sample_submission",
        several(
            table(["id", "text", "target"], lambda n: (n, text(n), n % 2), "k/train.csv"),
            table(["id", "text"], lambda n: (900 + n, f"test {text(n)}"), "k/test.csv"),
            table(["id", "target"], lambda n: (900 + n, 0), "k/sample_submission.csv"),
            at="k",
        ),
        LABEL,
        each(user(text), lambda n: f"A: {n % 2}"),
    ),
    Case(
        "a clone of the Hub",
        shards,
        LABEL,
        [(f"U: {split} {text(n)}", f"A: {label(n)}") for split in ("train", "test") for n in range(COUNT)],
    ),
    Case(
        "LLaMA-Factory: a folder with dataset_info.json",
        several(
            lambda folder: put(folder, "data/dataset_info.json", '{"mine": {"file_name": "mine.json"}}'),
            document(lambda n: {"instruction": ask(n), "input": "", "output": say(n)}, name="data/mine.json"),
            at="data",
        ),
        expected=ASKED,
    ),
    Case(
        "zipped folders of labels",
        zipped(lambda n: f"imdb/train/{label(n)}/{n}.txt"),
        LABEL,
        fault="data.several_in_zip",
        says="unzip ",
    ),
    Case("a tar file", tarred, LABEL, fault="data.unknown_kind", says="tar -xf"),
    Case(
        "splits inside `data`",
        document(
            lambda n: {"text": text(n), "label": label(n)},
            lambda rows: {"data": {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}},
        ),
        LABEL,
        LABELLED,
    ),
    Case(
        "pandas: columns",
        document(
            text,
            lambda rows: {"text": dict(enumerate(rows)), "label": {n: label(n) for n in range(COUNT)}},
        ),
        LABEL,
        fault="data.not_json_list",
        says="pandas.read_json('FILE')",
    ),
    Case(
        "pandas: split",
        document(
            lambda n: [text(n), label(n)],
            lambda rows: {"columns": ["text", "label"], "index": [*range(COUNT)], "data": rows},
        ),
        LABEL,
        fault="data.not_json_list",
        says="orient='split'",
    ),
    Case(
        "pandas: table",
        document(
            lambda n: {"index": n, "text": text(n), "label": label(n)},
            lambda rows: {"schema": {"fields": [{"name": "text"}]}, "data": rows},
        ),
        LABEL,
        LABELLED,
    ),
    Case("pickle", frame(how="to_pickle", kind="pkl"), LABEL, fault="data.unknown_kind", says="read_pickle"),
    Case("SQLite", database, LABEL, fault="data.unknown_kind", says="sqlite3"),
    *map(other, "yaml toml xml html ods h5 tgz docx srt".split()),
    Case(
        "JSON Lines called .txt",
        lines(lambda n: {"text": text(n), "label": label(n)}, "a.txt"),
        LABEL,
        fault="data.unknown_kind",
        says="a.jsonl",
    ),
    Case(
        "WhatsApp",
        lambda folder: put(
            folder, "Chat.txt", "".join(f"12/31/23, 10:{n:02} PM - Ann: {text(n)}\n" for n in range(COUNT))
        ),
        fault="data.unknown_kind",
        says='"messages"',
    ),
    # Parquet, Arrow, Excel
    Case("Parquet: categories", frame(lambda made: made.astype({"label": "category"})), LABEL, LABELLED),
    Case("Parquet: a dictionary, large strings, a map", encoded, LABEL, LABELLED),
    Case("Parquet: decimals, times, bytes beside", frame(typed), LABEL, LABELLED),
    Case(
        "Parquet: labels that are decimals",
        frame(lambda made: made.assign(label=[decimal.Decimal(f"{n % 3}.50") for n in range(COUNT)])),
        LABEL,
        each(user(text), lambda n: f"A: {n % 3}.50"),
    ),
    Case(
        "Parquet: labels that are dates",
        frame(lambda made: made.assign(label=[datetime.date(2024, 3, n % 3 + 1) for n in range(COUNT)])),
        LABEL,
        each(user(text), lambda n: f"A: 2024-03-0{n % 3 + 1}"),
    ),
    Case(
        "Parquet: texts as bytes",
        frame(lambda made: made.assign(text=[text(n).encode() for n in range(COUNT)])),
        LABEL,
        LABELLED,
    ),
    Case("Feather", frame(how="to_feather", kind="feather"), LABEL, LABELLED),
    Case(
        "Excel: percent",
        sheet(["text", "label"], lambda n: [text(n), (0.1, 0.25, 0.5)[n % 3]], "0%"),
        LABEL,
        each(user(text), lambda n: f"A: {('10%', '25%', '50%')[n % 3]}"),
    ),
    Case(
        "Excel: dates",
        sheet(["prompt", "completion"], lambda n: [ask(n), datetime.date(2024, 1, n % 28 + 1)], "dd/mm/yy"),
        expected=each(user(ask), lambda n: f"A: 2024-01-{n % 28 + 1:02}"),
    ),
    # Conversations
    Case(
        "LMSYS-Chat-1M",
        lines(
            lambda n: {
                "conversation_id": f"c{n}",
                "conversation": talk(n),
                "turn": 1,
                "openai_moderation": [{"flagged": False}],
            }
        ),
        expected=ASKED,
    ),
    Case(
        "SlimOrca: an empty system turn, weights",
        lines(
            lambda n: {
                "conversations": [
                    {"from": "system", "value": "", "weight": None},
                    {"from": "human", "value": ask(n), "weight": 0},
                    {"from": "gpt", "value": say(n), "weight": 1},
                ]
            }
        ),
        expected=each(user(ask), answer(say, "A1")),
    ),
    Case(
        "OpenHermes: ids that are null",
        lines(
            lambda n: {
                "id": None,
                "conversations": [{"from": "human", "value": ask(n)}, {"from": "gpt", "value": say(n)}],
                "system_prompt": None,
            }
        ),
        expected=ASKED,
    ),
    Case(
        "No Robots: prompt and messages",
        lines(lambda n: {"prompt": ask(n), "messages": talk(n), "category": "QA"}),
        expected=ASKED,
    ),
    Case(
        "a reasoning mode",
        lines(lambda n: {"input": openai(("user", ask(n))), "output": say(n), "reasoning": "off"}),
        expected=ASKED,
    ),
    Case(
        "messages and a response beside them",
        lines(lambda n: {"messages": openai(("user", ask(n))), "response": say(n)}),
        expected=ASKED,
    ),
    Case(
        "OpenAI evals",
        lines(lambda n: {"input": openai(("user", ask(n))), "ideal": say(n)}),
        expected=ASKED,
    ),
    Case(
        "LangSmith",
        lines(lambda n: {"inputs": {"question": ask(n)}, "outputs": {"answer": say(n)}}),
        fault="fork.unknown_columns",
        says="inputs.question",
    ),
    Case(
        "LangSmith, by its paths",
        lines(lambda n: {"inputs": {"question": ask(n)}, "outputs": {"answer": say(n)}}),
        expected=ASKED,
        options={"fields": "prompt=inputs.question completion=outputs.answer"},
    ),
    Case(
        "T5",
        table(["source_text", "target_text"], lambda n: (ask(n), say(n))),
        expected=ASKED,
    ),
    Case(
        "P3: token ids and texts",
        lines(
            lambda n: {
                "inputs": [3, n],
                "inputs_pretokenized": ask(n),
                "targets": [5, n],
                "targets_pretokenized": say(n),
            }
        ),
        fault="rows.not_text",
        says="FIELDS=",
    ),
    Case(
        "Super-NaturalInstructions",
        document(
            lambda n: {"input": ask(n), "output": [say(n)]},
            lambda rows: {"Positive Examples": [{"input": "a", "output": "b"}], "Instances": rows},
        ),
        fault="data.not_json_list",
        says="train=FILE#Instances",
    ),
    Case(
        "ABCD: pairs of speaker and text",
        document(lambda n: {"conversation": [["customer", ask(n)], ["agent", say(n)]]}),
        expected=ASKED,
    ),
    Case(
        "speakers of a help desk",
        lines(lambda n: {"messages": openai(("end-user", ask(n)), ("agent", say(n)))}),
        expected=ASKED,
    ),
    Case(
        "Claude's export",
        document(
            lambda n: {
                "uuid": f"u{n}",
                "chat_messages": [
                    {"text": ask(n), "content": [{"type": "text", "text": ask(n)}], "sender": "human"},
                    {"text": say(n), "content": [{"type": "text", "text": say(n)}], "sender": "assistant"},
                ],
            }
        ),
        expected=ASKED,
    ),
    Case(
        "a turn a row",
        table(
            ["conversation_id", "role", "content"],
            lambda n: (f"c{n // 2}", ("user", "assistant")[n % 2], (ask, say)[n % 2](n)),
        ),
        fault="fork.needs_conversion",
        says="groupby(id)",
    ),
    Case("turns without a name", lines(talk), expected=ASKED),
    Case(
        "a comma behind each line",
        lines(lambda n: {"prompt": ask(n), "completion": say(n)}, end=",\n"),
        fault="rows.not_json",
        says="Remove it",
    ),
    Case(
        "Messenger: two lists",
        document(
            lambda n: {"sender_name": "Ann", "content": text(n)},
            lambda rows: {"participants": [{"name": "Ann"}], "messages": rows},
        ),
        fault="data.not_json_list",
        says="train=FILE#messages",
    ),
    # Prompts and answers
    Case(
        "two prompts",
        lines(lambda n: {"prompt": "Answer it.", "query": ask(n), "response": say(n)}),
        fault="fork.ambiguous_columns",
        says='FIELDS="prompt=prompt+query completion=response"',
    ),
    Case(
        "two prompts joined",
        lines(lambda n: {"prompt": "Answer it.", "query": ask(n), "response": say(n)}),
        expected=each(lambda n: f"U: Answer it.\n\n{ask(n)}", answer(say)),
        options={"fields": "prompt=prompt+query completion=response"},
    ),
    Case(
        "OpenR1: a solution and an answer",
        lines(lambda n: {"problem": ask(n), "solution": say(n), "answer": str(n)}),
        fault="fork.ambiguous_columns",
        says='FIELDS="prompt=problem completion=solution"',
    ),
    Case(
        "MetaMathQA",
        lines(lambda n: {"query": ask(n), "original_question": f"Or {ask(n)}", "response": say(n)}),
        expected=ASKED,
    ),
    Case(
        "OpenMathInstruct",
        lines(lambda n: {"problem": ask(n), "generated_solution": say(n), "expected_answer": str(n)}),
        fault="rows.meaning_not_read",
        says="DROP=expected_answer",
    ),
    Case(
        "TriviaQA: an answer with its aliases",
        lines(lambda n: {"question": ask(n), "answer": {"value": say(n), "aliases": ["x"]}}),
        fault="fork.ambiguous_columns",
        says='FIELDS="prompt=question completion=answer.value"',
    ),
    Case(
        "BeaverTails: unsafe answers",
        lines(lambda n: {"prompt": ask(n), "response": say(n), "is_safe": n % 2 == 0}),
        fault="rows.meaning_not_read",
        says="WHERE=",
    ),
    Case(
        "SQuAD 2.0 as the Hub has it",
        lines(
            lambda n: {
                "id": f"s{n}",
                "title": f"T{n // 4}",
                "context": text(n),
                "question": ask(n),
                "answers": {"text": ["barge"] if n % 3 else [], "answer_start": [0] if n % 3 else []},
            }
        ),
        QA,
        each(lambda n: f"U: {text(n)}\n\n{ask(n)}", lambda n: f"A: {'barge' if n % 3 else 'unanswerable'}"),
    ),
    Case(
        "PubMedQA: objects by id",
        document(
            lambda n: {
                "QUESTION": ask(n),
                "CONTEXTS": [text(n), say(n)],
                "LABELS": ["BACKGROUND", "RESULTS"],
                "final_decision": ("yes", "no", "maybe")[n % 3],
                "LONG_ANSWER": bad(n),
            },
            lambda rows: {str(n): row for n, row in enumerate(rows)},
        ),
        QA,
        each(
            lambda n: f"U: {text(n)}\n\n{say(n)}\n\n{ask(n)}",
            lambda n: f"A: {('yes', 'no', 'maybe')[n % 3]}",
        ),
    ),
    Case(
        "PubMedQA on the Hub",
        lines(
            lambda n: {
                "pubid": n,
                "question": ask(n),
                "context": {"contexts": [text(n), say(n)], "meshes": ["x"]},
                "final_decision": ("yes", "no")[n % 2],
            }
        ),
        QA,
        each(lambda n: f"U: {text(n)}\n\n{say(n)}\n\n{ask(n)}", lambda n: f"A: {('yes', 'no')[n % 2]}"),
    ),
    # Two answers
    Case(
        "Intel Orca DPO pairs",
        lines(lambda n: {"system": "", "question": ask(n), "chosen": say(n), "rejected": bad(n)}),
        PAIR,
        PAIRS,
    ),
    Case(
        "SHP",
        lines(
            lambda n: {
                "post_id": f"p{n // 2}",
                "history": ask(n),
                "human_ref_A": first(n),
                "human_ref_B": second(n),
                "labels": 1 - n % 2,
                "score_A": (12, 3)[n % 2],
                "score_B": (3, 12)[n % 2],
                "score_ratio": 4.0,
                "upvote_ratio": 0.9,
            }
        ),
        PAIR,
        PAIRS,
    ),
    Case(
        "SHP: the scores say otherwise",
        lines(
            lambda n: {
                "history": ask(n),
                "human_ref_A": say(n),
                "human_ref_B": bad(n),
                "labels": 0,
                "score_A": 12,
                "score_B": 3,
            }
        ),
        PAIR,
        fault="rows.scores_disagree",
        says="Correct one",
    ),
    Case(
        "Chatbot Arena",
        lines(
            lambda n: {
                "winner": ("model_a", "model_b")[n % 2],
                "conversation_a": openai(("user", ask(n)), ("assistant", first(n))),
                "conversation_b": openai(("user", ask(n)), ("assistant", second(n))),
                "turn": 1,
            }
        ),
        PAIR,
        PAIRS,
    ),
    Case(
        "Chatbot Arena: ties",
        lines(
            lambda n: {
                "winner": ("model_a", "tie")[n % 2],
                "conversation_a": openai(("user", ask(n)), ("assistant", say(n))),
                "conversation_b": openai(("user", ask(n)), ("assistant", bad(n))),
            }
        ),
        PAIR,
        fault="rows.no_vote",
        says="winner in ('model_a', 'model_b')",
    ),
    Case(
        "Chatbot Arena: ties left out",
        lines(
            lambda n: {
                "winner": ("tie (bothbad)", "model_a")[n > 9],
                "conversation_a": openai(("user", ask(n)), ("assistant", say(n))),
                "conversation_b": openai(("user", ask(n)), ("assistant", bad(n))),
            }
        ),
        PAIR,
        PAIRS[10:],
        options={"where": "winner in ('model_a', 'model_b')"},
    ),
    Case(
        "LMSYS on Kaggle",
        table(
            ["prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"],
            lambda n: (
                *(json.dumps([one(n)]) for one in (ask, first, second)),
                int(n % 2 == 0),
                n % 2,
                0,
            ),
        ),
        PAIR,
        PAIRS,
    ),
    Case(
        "UltraInteract: a prompt of another name",
        lines(
            lambda n: {
                "trajectory": [{"from": "user", "value": ask(n)}],
                "chosen": say(n),
                "rejected": bad(n),
            }
        ),
        PAIR,
        PAIRS,
        options={"fields": "prompt=trajectory chosen=chosen rejected=rejected"},
    ),
    Case(
        "WebGPT: two scored answers",
        lines(lambda n: {"question": {"full_text": ask(n)}, "answer_0": say(n), "answer_1": bad(n)}),
        PAIR,
        fault="fork.unknown_columns",
        says="question.full_text",
    ),
    # What a stranger's file says beside the rows, in a column of another name, or by a value
    Case(
        "Google Forms: questions as names",
        table(
            ["What did you see at the quay?", "What else?", "Which kind is it?"],
            lambda n: (text(n), ask(n), label(n)),
        ),
        LABEL,
        fault="fork.ambiguous_columns",
        says="FIELDS=\"text='What did you see at the quay?+What else?' label='Which kind is it?'\"",
        options={"header": "1"},
    ),
    Case(
        "Google Forms: FIELDS as typed",
        table(
            ["What did you see at the quay?", "What else?", "Which kind is it?"],
            lambda n: (text(n), ask(n), label(n)),
        ),
        LABEL,
        LABELLED,
        options={
            "header": "1",
            "fields": "text='What did you see at the quay?' label='Which kind is it?'",
        },
    ),
    Case(
        "a column with a blank, dropped",
        table(["prompt", "completion", "Is Deleted"], lambda n: (ask(n), say(n), str(n % 6 == 0).upper())),
        expected=ASKED,
        options={"drop": "'Is Deleted'"},
    ),
    Case(
        "two columns with blanks in one option",
        table(
            ["prompt", "completion", "Is Deleted", "Quality Score"], lambda n: (ask(n), say(n), "TRUE", n % 5)
        ),
        fault="rows.meaning_not_read",
        says="DROP=\"'Is Deleted' 'Quality Score'\"",
    ),
    Case(
        "MTurk: rejected",
        table(
            ["HITId", "AssignmentStatus", "Input.text", "Answer.category"],
            lambda n: (f"H{n}", ("Approved", "Rejected")[n % 5 == 0], text(n), label(n)),
        ),
        LABEL,
        fault="rows.meaning_not_read",
        says="AssignmentStatus != 'Rejected'",
        options={"fields": "text=Input.text label=Answer.category"},
    ),
    Case(
        "airline tweets: sure labels only",
        table(
            ["tweet_id", "sentiment", "sentiment_confidence", "text"],
            lambda n: (n, label(n), (0.9, 0.35)[n > 49], text(n)),
        ),
        LABEL,
        LABELLED[:50],
        options={"where": "sentiment_confidence|float >= 0.8"},
    ),
    Case(
        "two annotators",
        table(["text", "label", "annotator_2"], lambda n: (text(n), label(n), label(n + (n % 4 == 0)))),
        LABEL,
        fault="fork.ambiguous_columns",
        says="differ in 15 of 60",
    ),
    Case(
        "QNLI",
        table(["index", "question", "sentence", "label"], lambda n: (n, ask(n), text(n), label(n))),
        LABEL,
        fault="fork.ambiguous_columns",
        says='FIELDS="text=question+sentence label=label"',
    ),
    Case(
        "sentiment of an aspect",
        table(["text", "aspect", "label"], lambda n: (text(n // 2), ("food", "price")[n % 2], label(n))),
        LABEL,
        fault="fork.ambiguous_columns",
        says='FIELDS="text=text+aspect label=label"',
    ),
    Case(
        "Label Studio CSV: choices",
        table(
            ["text", "label"],
            lambda n: (text(n), label(n) if n % 2 else json.dumps({"choices": [label(n), label(n + 1)]})),
        ),
        LABEL,
        fault="labels.several_in_one",
        says="has 2 labels",
    ),
    *(
        Case(
            f"labels as {left}a{between}b{right}",
            table(
                ["text", "label"],
                lambda n, left=left, between=between, right=right: (  # type: ignore[misc]
                    text(n),
                    f"{left}{between.join((label(n), label(n + 1))[: 1 + n % 2])}{right}",
                ),
            ),
            LABEL,
            fault="labels.several_in_one",
            says="LABELS=whole",
        )
        for left, between, right in (("<", "><", ">"), ("|", "|", "|"), ("", ";", ";"))
    ),
    Case(
        "Rasa with entities",
        document(
            lambda n: {
                "text": text(n),
                "intent": label(n),
                "entities": [{"start": 0, "end": 5, "value": "b"}],
            },
            lambda rows: {"rasa_nlu_data": {"common_examples": rows}},
        ),
        LABEL,
        LABELLED,
    ),
    Case(
        "intents.json of a chatbot",
        document(
            lambda n: {"tag": f"t{n}", "patterns": [ask(n), text(n)], "responses": [say(n)]},
            lambda rows: {"intents": rows},
        ),
        LABEL,
        fault="fork.needs_conversion",
        says=".explode(name)",
    ),
    Case(
        "a split of another name",
        table(["text", "label", "split"], lambda n: (text(n), label(n), (*SPLIT_NAMES, "extra")[n % 6])),
        LABEL,
        fault="data.unknown_split",
        says="split in ('train', 'validation', 'test')",
    ),
    Case(
        "a system prompt beside the rows",
        document(
            lambda n: {"prompt": ask(n), "completion": say(n)},
            lambda rows: {"system_prompt": "Be.", "data": rows},
        ),
        fault="data.beside_rows",
        says="DROP=system_prompt",
    ),
    Case(
        "a system prompt beside the rows, dropped",
        document(
            lambda n: {"prompt": ask(n), "completion": say(n)},
            lambda rows: {"system_prompt": "Be.", "data": rows},
        ),
        expected=ASKED,
        options={"drop": "system_prompt"},
    ),
    Case(
        "one page of an API",
        document(
            lambda n: {"prompt": ask(n), "completion": say(n)},
            lambda rows: {"count": 600, "next": "https://x.example/?page=2", "results": rows},
        ),
        fault="data.more_pages",
        says="DROP=next",
    ),
    Case(
        "JSON Lines encoded twice",
        lines(lambda n: json.dumps({"prompt": ask(n), "completion": say(n)})),
        fault="data.encoded_twice",
        says="json.loads(line)",
    ),
    Case(
        "a log with tools",
        lines(
            lambda n: {
                "request": {"messages": openai(("user", ask(n))), "tools": [{"function": {"name": "tide"}}]},
                "response": {"choices": [{"message": {"role": "assistant", "content": say(n)}}]},
            }
        ),
        fault="rows.meaning_not_read",
        says="DROP=request.tools",
        options={"fields": "prompt=request.messages completion=response.choices.message.content"},
    ),
    Case(
        "Vertex: the context as system prompt",
        lines(lambda n: {"context": "You know every lock.", "messages": talk(n)}),
        expected=ASKED,
        options={"fields": "messages=messages system=context"},
    ),
    Case(
        "answers to two names of a question",
        lines(lambda n: {("prompt", "question")[n % 2]: ask(n), "completion": say(n)}),
        expected=ASKED,
        options={"fields": "prompt=prompt+question completion=completion"},
    ),
    Case(
        "HotpotQA: sentences",
        lines(
            lambda n: {
                "question": ask(n),
                "answer": "barge",
                "context": {
                    "title": ["A", "B"],
                    "sentences": [[f"{text(n)}.", " It is red."], ["Other one."]],
                },
            }
        ),
        QA,
        each(lambda n: f"U: {text(n)}. It is red.\n\nOther one.\n\n{ask(n)}", lambda n: "A: barge"),
        options={"fields": "question=question context=context.sentences answers=answer"},
    ),
]
