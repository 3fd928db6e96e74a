"""Fork small, randomly changed data files: each must be read right or refused, none silently read wrong.

Five base sets of rows (labels, chat, Alpaca, SQuAD-like questions, preference pairs) are changed by one to
three rules (order and names of columns, encoding, header, nesting, nulls, duplicates, other scripts, lists of
one, a column of splits), written in one of nine file formats, and forked. Either the rendered (prompt,
answer) pairs equal those that this script derives from the unchanged rows, without Tunebook's readers, or
there is an error with a code and a next step. Anything else is a silent error, and is printed.

    python benchmarks/mutations.py --count 200 --seed 0 --out benchmarks/results/mutations.json
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunebook.commands.fork import fork as fork_module
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import render_all

Row = dict[str, Any]
Pair = tuple[str, str]
WORDS = """order refund parcel login card invoice door window lamp shelf garden bike train ticket meal hotel
river harbour kettle teapot ladder bucket saddle violin""".split()
OTHER_SCRIPT = (
    "\u6211\u60f3\u53d6\u6d88\u8ba2\u5355\u9000\u6b3e\u5305\u88f9"
    "\u5728\u54ea\u91cc\u767b\u5f55\u5931\u8d25\u95e8\u7a97\u706f"
)
ROWS = 64
# A message has a next step if it names an option or contains one of these words.
STEP = "= Remove Add Name Save Choose Keep Write must Correct Fork Quote expected".split()


@dataclass
class Made:
    """Rows in order, the pairs that they should render to, and how the file is written."""

    base: str
    rows: list[Row]
    pairs: list[Pair]
    kind: str = ".jsonl"
    encoding: str = "utf-8"
    header: bool = True
    nest: str = ""
    done: list[str] = field(default_factory=list)


def sentence(drawn: random.Random, number: int) -> str:
    return f"{' '.join(drawn.sample(WORDS, 9))} {number}"


def base(name: str, drawn: random.Random) -> Made:
    """Return the rows of one base set and their pairs."""
    texts = [sentence(drawn, number) for number in range(ROWS)]
    answers = [f"It is about {text.split()[0]} and {text.split()[4]}." for text in texts]
    if name == "labels":
        labels = [("refund", "delivery", "account")[number % 3] for number in range(ROWS)]
        rows = [{"text": one, "label": label} for one, label in zip(texts, labels, strict=True)]
        return Made(name, rows, list(zip(texts, labels, strict=True)))
    if name == "chat":
        rows = [
            {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
            for a, b in zip(texts, answers, strict=True)
        ]
        return Made(name, rows, list(zip(texts, answers, strict=True)))
    if name == "alpaca":
        rows = [{"instruction": a, "input": "", "output": b} for a, b in zip(texts, answers, strict=True)]
        return Made(name, rows, list(zip(texts, answers, strict=True)))
    if name == "qa":
        asked = [f"What comes fifth in text {number}?" for number in range(ROWS)]
        golds = [text.split()[4] for text in texts]
        rows = [
            {"question": q, "context": c, "answers": [a]} for q, c, a in zip(asked, texts, golds, strict=True)
        ]
        prompts = [f"{c}\n\n{q}" for q, c in zip(asked, texts, strict=True)]
        return Made(name, rows, list(zip(prompts, golds, strict=True)))
    rows = [
        {"prompt": a, "chosen": b, "rejected": "I do not know."} for a, b in zip(texts, answers, strict=True)
    ]
    return Made(name, rows, list(zip(texts, answers, strict=True)))


ORIGIN = {
    "labels": "classify-lora",
    "chat": "chat-lora",
    "alpaca": "chat-lora",
    "qa": "qa-lora",
    "preference": "chat-dpo",
}
SYNONYMS = {
    "text": ["Text", "body", "utterance", "Review"],
    "label": ["intent", "Category", "class", "label_text"],
    "messages": ["conversations", "dialogue"],
    "instruction": ["prompt", "question"],
    "output": ["response", "completion"],
    "context": ["passage", "paragraph"],
    "answers": ["answer"],
    "chosen": ["chosen_response"],
    "rejected": ["rejected_response"],
}


FOREIGN = {
    "text": "Nachricht",
    "label": "\u6807\u7b7e",
    "instruction": "Aufgabe",
    "output": "R\u00e9ponse",
    "question": "Frage",
    "context": "Textstelle",
    "answers": "Antwort",
    "prompt": "Vorgabe",
    "chosen": "besser",
    "rejected": "schlechter",
}
NOT_LABELS = {
    "text",
    "Text",
    "body",
    "utterance",
    "Review",
    "Nachricht",
    "id",
    "index",
    "",
    "Unnamed: 0",
    "split",
}


def shuffle_columns(made: Made, drawn: random.Random) -> None:
    names = list(made.rows[0])
    drawn.shuffle(names)
    made.rows = [{name: row[name] for name in names} for row in made.rows]


def rename(made: Made, drawn: random.Random) -> None:
    new = {name: drawn.choice(SYNONYMS.get(name, [name])) for name in made.rows[0]}
    made.rows = [{new[name]: value for name, value in row.items()} for row in made.rows]


def re_encode(made: Made, drawn: random.Random) -> None:
    made.encoding = drawn.choice(["utf-8-sig", "utf-16", "cp1252", "gb18030", "koi8-r", "utf-16-le"])


def drop_header(made: Made, drawn: random.Random) -> None:
    made.header = False


def nest(made: Made, drawn: random.Random) -> None:
    made.nest = drawn.choice(["data", "rows", "train", "data.rows", "export.data.items"])


def null(made: Made, drawn: random.Random) -> None:
    """Empty one value: harmless in an optional field, an error in any other."""
    row, name = drawn.randrange(ROWS), drawn.choice(list(made.rows[0]))
    # A column of Parquet has one type.
    empty = [None, "", " "] if isinstance(made.rows[row][name], str) else [None]
    made.rows[row] = {**made.rows[row], name: drawn.choice(empty)}
    if name in ("answers", "answer"):  # fork trains these as unanswerable, and says so
        made.pairs[row] = (made.pairs[row][0], "unanswerable")


def foreign_names(made: Made, drawn: random.Random) -> None:
    """Rename the columns to words of another language, which no list of usual names contains."""
    new = {name: FOREIGN.get(name, name) for name in made.rows[0]}
    made.rows = [{new.get(name, name): value for name, value in row.items()} for row in made.rows]


def in_list(made: Made, drawn: random.Random) -> None:
    """Put the label into a list of one, as annotation tools do."""
    name = next((one for one in made.rows[0] if made.base == "labels" and one not in NOT_LABELS), None)
    if name:
        made.rows = [{**row, name: [row[name]]} for row in made.rows]


def split_column(made: Made, drawn: random.Random) -> None:
    """Add a column with the split of each row."""
    names = ["train", "train", "train", "validation", "test"]
    made.rows = [{**row, "split": names[number % 5]} for number, row in enumerate(made.rows)]


def duplicate(made: Made, drawn: random.Random) -> None:
    """Repeat rows. Fork removes repeats of held-out prompts from train, so only the set of pairs is
    compared."""
    for at in drawn.sample(range(ROWS), 5):
        made.rows.append(made.rows[at])
        made.pairs.append(made.pairs[at])


def translate(made: Made, drawn: random.Random) -> None:
    """Put labels and texts into a script without spaces."""

    def other(text: str) -> str:
        return (
            "".join(OTHER_SCRIPT[hash_of(word) % len(OTHER_SCRIPT)] for word in text.split())
            + text.split()[-1]
        )

    if made.base == "labels":
        made.rows = [
            {name: other(value) if isinstance(value, str) else value for name, value in row.items()}
            for row in made.rows
        ]
        made.pairs = [(other(prompt), other(answer)) for prompt, answer in made.pairs]


def hash_of(word: str) -> int:
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(word))


def index_column(made: Made, drawn: random.Random) -> None:
    name = drawn.choice(["Unnamed: 0", "", "id", "index"])
    made.rows = [{name: number, **row} for number, row in enumerate(made.rows)]


def accents(made: Made, drawn: random.Random) -> None:
    """Add letters beyond ASCII, which an encoding must preserve, to every prompt."""
    tail = " caf\u00e9"
    first = {"labels": "text", "alpaca": "instruction", "preference": "prompt"}.get(made.base)
    name = next((one for one in made.rows[0] if one == first), None)
    if name:
        made.rows = [{**row, name: f"{row[name]}{tail}"} for row in made.rows]
        made.pairs = [(f"{prompt}{tail}", answer) for prompt, answer in made.pairs]


RULES: list[Callable[[Made, random.Random], None]] = [
    accents,
    shuffle_columns,
    index_column,
    rename,
    foreign_names,
    translate,
    split_column,
    null,
    in_list,
    duplicate,
    nest,
    drop_header,
    re_encode,
]
KINDS = [".jsonl", ".json", ".csv", ".tsv", ".psv", ".parquet", ".xlsx", ".semicolons.csv", ".arrow"]


def cells(row: Row) -> list[Any]:
    return [
        json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
        for value in row.values()
    ]


def write(made: Made, path: Path) -> None:
    """Write the rows with the standard library and the formats' own libraries."""
    names = list(dict.fromkeys(name for row in made.rows for name in row))
    if made.kind == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        for line in ([names] if made.header else []) + [cells(row) for row in made.rows]:
            book.active.append(line)
        book.save(path)
    elif made.kind in (".parquet", ".arrow"):
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(made.rows)
        if made.kind == ".parquet":
            pyarrow.parquet.write_table(table, path)
        else:
            with pyarrow.ipc.new_stream(str(path), table.schema) as stream:
                stream.write_table(table)
    else:
        path.write_bytes(as_text(made, names).encode(made.encoding, errors="xmlcharrefreplace"))


def as_text(made: Made, names: list[str]) -> str:
    if made.kind == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made.rows)
    if made.kind == ".json":
        value: Any = made.rows
        for name in reversed(made.nest.split(".") if made.nest else []):
            value = {name: value}
        return json.dumps(value, ensure_ascii=False, indent=1)
    by = {".csv": ",", ".tsv": "\t", ".psv": "|", ".semicolons.csv": ";"}[made.kind]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=by)
    writer.writerows(([names] if made.header else []) + [cells(row) for row in made.rows])
    return file.getvalue()


def judge(made: Made, path: Path, name: str) -> tuple[str, str]:
    """Fork the file and return (`equal`, `refused` or `wrong`, what was seen)."""
    try:
        code = run_fork(ForkOptions(ORIGIN[made.base], name, str(path)), Console(quiet=True))
    except InputError as error:
        text = str(error)
        good = bool(error.code) and any(word in text for word in STEP)
        return ("refused" if good else "wrong"), f"{error.code} {text[:200]}"
    except Exception as error:  # any other error counts as wrong; the sweep continues
        return "wrong", f"{type(error).__name__}: {error}"
    rows = [row for some in render_all(load_dataset_config(name)).values() for row in some]
    found = [(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in rows]
    expected = made.pairs
    if "duplicate" in made.done:
        found, expected = list(set(found)), list(set(expected))
    if code == 0 and Counter(found) == Counter(expected):
        return "equal", ""
    more, less = Counter(found) - Counter(expected), Counter(expected) - Counter(found)
    return "wrong", f"exit {code}; not expected: {list(more)[:2]}; missing: {list(less)[:2]}"


def sweep(count: int, seed: int, home: Path, show: bool = False) -> dict[str, list[str]]:
    """Change, write and fork `count` files below `home`; return what was seen by outcome."""
    seen: dict[str, list[str]] = {"equal": [], "refused": [], "wrong": []}
    for number in range(count):
        drawn = random.Random(f"{seed}-{number}")
        made = base(list(ORIGIN)[number % len(ORIGIN)], drawn)
        made.kind = drawn.choice(KINDS)
        for rule in sorted(drawn.sample(RULES, drawn.choice([1, 1, 2, 2, 3])), key=RULES.index):
            rule(made, drawn)
            made.done.append(rule.__name__)
        path = home / "given" / f"{number}{made.kind}"
        path.parent.mkdir(exist_ok=True)
        write(made, path)
        outcome, what = judge(made, path, f"m{number}")
        line = f"{number}: {made.base}{made.kind} {'+'.join(made.done)} {made.encoding}: {what}"
        seen[outcome].append(line)
        if show:
            print(outcome, line, flush=True)
    return seen


def prepare(home: Path) -> None:
    """Create folders for the forks, with links to our recipes and datasets, and turn off fork's check."""
    for kind in ("datasets", "recipes"):
        (home / kind).mkdir()
        for folder in (ROOT / kind).iterdir():
            if folder.is_dir():
                os.symlink(folder, home / kind / folder.name)
        os.environ[f"TUNEBOOK_{kind.upper()}"] = str(home / kind)
    fork_module.run_check = lambda *_: 0  # type: ignore[assignment]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the summary there as JSON")
    parser.add_argument("--show", action="store_true", help="print every file as it is forked")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        seen = sweep(asked.count, asked.seed, Path(folder), asked.show)
    if asked.out:
        counts = {outcome: len(lines) for outcome, lines in seen.items()}
        codes = Counter(line.partition(": ")[2].partition(": ")[2].split(" ")[0] for line in seen["refused"])
        made = {"count": asked.count, "seed": asked.seed, **counts, "refused by": dict(codes.most_common())}
        asked.out.write_text(json.dumps({**made, "wrong files": seen["wrong"]}, indent=1) + "\n")
    for outcome, lines in seen.items():
        print(f"{outcome}: {len(lines)}")
        if outcome == "wrong":
            print("\n".join(lines))
    return len(seen["wrong"]) > 0


if __name__ == "__main__":
    sys.exit(main())
