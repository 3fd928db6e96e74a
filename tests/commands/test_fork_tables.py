"""Forks of tables, folders and labels as people have them: read right, or refused with what to type."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_table_files import sheet
from tunebook.commands.fork import files as data_files
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.output import screen
from tunebook.commands.fork.tables.facts import table_options
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.render import render_all

WORDS = "order refund parcel login card invoice door window lamp shelf garden bike train ticket meal".split()
Files = dict[str, Any]


def text(number: int) -> str:
    drawn = random.Random(number)
    return f"{' '.join(drawn.choice(WORDS) for _ in range(7))} {number}"


TEXTS = [text(number) for number in range(60)]
AB = ["ab"[number % 2] for number in range(60)]


def csv_of(labels: Any, texts: list[str] = TEXTS, head: str = "text,label\n", by: str = ",") -> str:
    rows = "".join(f"{one}{by}{label}\n" for one, label in zip(texts, labels, strict=False))
    return head.replace(",", by) + rows


def jsonl_of(labels: Any, texts: list[str] = TEXTS) -> str:
    rows = zip(texts, labels, strict=False)
    return "".join(json.dumps({"text": one, "label": label}) + "\n" for one, label in rows)


def others(count: int, start: int = 1000) -> list[str]:
    return [text(number) for number in range(start, start + count)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("datasets", "recipes"):
        monkeypatch.setenv(f"TUNEBOOK_{kind.upper()}", str(tmp_path / kind))
        (tmp_path / kind).mkdir()
        for folder in (ROOT / kind).iterdir():
            if folder.is_dir():
                os.symlink(folder, tmp_path / kind / folder.name)
    monkeypatch.setattr("tunebook.commands.fork.fork.run_check", lambda *_: 0)
    return tmp_path


def fork(
    home: Path, files: Files, data: str = "", origin: str = "classify-lora", **options: str
) -> list[str]:
    """Write `files` and fork the first of them (or `data`, where `{}` is their folder); return the lines of
    fork.txt."""
    folder = home / "given"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    names = ("encoding", "delimiter", "header", "sheet", "quotes")
    table = table_options(*(options.pop(name, "") for name in names))
    given = (data or f"{{}}/{next(iter(files))}").format(*[folder] * 3)
    options = {name: value.format(folder) for name, value in options.items()}
    asked = ForkOptions(origin, "mine", given, table=table, **options)  # type: ignore[arg-type]
    assert run_fork(asked, Console(quiet=True)) == 0
    text = (home / "datasets" / "mine" / "fork.txt").read_text(encoding="utf-8")
    return [line.removeprefix("- ") for line in text.splitlines()]


def made() -> tuple[Dataset, list[tuple[str, str]]]:
    """Return the dataset of the fork and (prompt, answer) of all its rows, sorted."""
    dataset = load_dataset_config("mine")
    rows = [row for some in render_all(dataset).values() for row in some]
    return dataset, sorted((row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in rows)


RIGHT = sorted(zip(TEXTS, AB, strict=True))
NAMED = [{"a": "neg", "b": "pos"}[label] for label in AB]
ZERO_ONE = [str(number % 2) for number in range(60)]
CARD = """---
dataset_info:
  features:
  - name: label
    dtype: {class_label: {names: {'0': neg, '1': pos}}}
---
"""
INFOS = json.dumps({"x": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}})
PIECES = [{"data": [{"text": one[:5]}, {"text": one[5:], "entity": "x"}]} for one in TEXTS]
SHARDS = {
    f"data/train-0000{part}-of-00002.jsonl": jsonl_of(AB[part * 30 :], TEXTS[part * 30 :][:30])
    for part in (0, 1)
}


def saved(path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    kinds = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    table = datasets.Dataset.from_dict({"text": TEXTS, "label": list(map(int, ZERO_ONE))}, features=kinds)
    datasets.DatasetDict({"train": table}).save_to_disk(str(path))


READ: dict[str, tuple[Files, str, dict[str, str], list[str]]] = {
    "no header, named by numbers": (
        {"a.csv": csv_of(AB, head="")},
        "",
        {"header": "none", "fields": "text=1 label=2"},
        AB,
    ),
    "no header, by its values": ({"a.tsv": csv_of(AB, head="", by="\t")}, "", {"header": "none"}, AB),
    "a sheet of several": ({"a.xlsx": sheet([["text", "label"], *RIGHT])}, "", {"sheet": "Sheet"}, AB),
    "Windows-1252": (
        {"a.csv": csv_of([f"{label}\u00e9" for label in AB]).encode("cp1252")},
        "",
        {"encoding": "cp1252"},
        [f"{label}\u00e9" for label in AB],
    ),
    "a JSON object of splits": (
        {
            "all.json": json.dumps(
                {"val": [[TEXTS[0], "a"]], "train": [*map(list, zip(TEXTS[1:], AB[1:], strict=True))]}
            )
        },
        "",
        {},
        AB,
    ),
    "named lists of a JSON object": (
        {
            "all.json": json.dumps(
                {
                    name: [*map(list, zip(TEXTS[n:m], AB[n:m], strict=True))]
                    for name, n, m in (("in", 0, 40), ("oos", 40, 60))
                }
            )
        },
        "train={}/all.json#in+oos",
        {},
        AB,
    ),
    "a folder per label": (
        {f"{label}/{n}.txt": one for n, (one, label) in enumerate(zip(TEXTS, AB, strict=True))},
        "{}",
        {},
        AB,
    ),
    "a folder per split and label": (
        {
            f"{'test' if n > 49 else 'train'}/{label}/{n}_8.txt": one
            for n, (one, label) in enumerate(zip(TEXTS, AB, strict=True))
        },
        "{}",
        {},
        AB,
    ),
    "a JSON file per label, texts in pieces": (
        {f"{label}.json": json.dumps({label: PIECES["ab".index(label) :: 2]}) for label in "ab"},
        "{}",
        {},
        AB,
    ),
    "shards": (SHARDS, "{}", {}, AB),
    "saved by datasets": ({"saved": saved}, "{}/saved", {}, AB),
    "names in a file, a line each": (
        {"a.csv": csv_of(ZERO_ONE), "n.txt": "neg\npos\n"},
        "",
        {"labels": "{}/n.txt"},
        NAMED,
    ),
    "names from 1": (
        {"a.csv": csv_of([str(n % 2 + 1) for n in range(60)]), "n.txt": "neg\npos\n"},
        "",
        {"labels": "{}/n.txt"},
        NAMED,
    ),
    "names in two columns": (
        {"a.csv": csv_of(ZERO_ONE), "n.csv": "id,name\n1,pos\n0,neg\n"},
        "",
        {"labels": "{}/n.csv"},
        NAMED,
    ),
    "names in id2label": (
        {"a.jsonl": jsonl_of([n % 2 for n in range(60)]), "c.json": '{"id2label": {"0": "neg", "1": "pos"}}'},
        "",
        {"labels": "{}/c.json"},
        NAMED,
    ),
    "names in label2id": (
        {"a.csv": csv_of(ZERO_ONE), "c.json": '{"pos": 1, "neg": 0}'},
        "",
        {"labels": "{}/c.json"},
        NAMED,
    ),
    "names in the dataset card": ({"train.csv": csv_of(ZERO_ONE), "README.md": CARD}, "{}", {}, NAMED),
    "names in dataset_infos.json": ({"a.csv": csv_of(ZERO_ONE), "dataset_infos.json": INFOS}, "", {}, NAMED),
    "spellings joined": (
        {
            "a.csv": csv_of(
                [f"{label}{' '}x" if n % 5 else f"{label.upper()}  x " for n, label in enumerate(AB)]
            )
        },
        "",
        {"labels": "join"},
        [f"{label} x" for label in AB],
    ),
    "1 and 1.0 joined": (
        {"a.csv": csv_of([label if n % 5 else f"{label}.0" for n, label in enumerate(ZERO_ONE)])},
        "",
        {"labels": "join"},
        ZERO_ONE,
    ),
    "combinations as they are": (
        {"a.csv": csv_of([["a|b", "b|c", "a", "c", "b"][n % 5] for n in range(60)])},
        "",
        {"labels": "whole"},
        [["a|b", "b|c", "a", "c", "b"][n % 5] for n in range(60)],
    ),
    "texts of one word": ({"a.csv": csv_of(AB, [f"w{n}" for n in range(60)])}, "", {}, AB),
}


@pytest.mark.parametrize("name", READ)
def test_it_is_read(name: str, home: Path) -> None:
    files, data, options, labels = READ[name]
    fork(home, files, data, **options)
    dataset, rows = made()
    texts = [f"w{n}" for n in range(60)] if name == "texts of one word" else TEXTS
    assert rows == sorted(zip(texts, labels, strict=True))
    assert {*dataset.labels} == {*labels}


def test_rows_whose_label_has_no_name_are_left_out(home: Path) -> None:
    labels = [str(number % 3) for number in range(60)]
    notes = fork(home, {"a.csv": csv_of(labels), "n.csv": "0,neg\n1,pos\n2,\n"}, labels="{}/n.csv")
    assert Counter(label for _, label in made()[1]) == {"neg": 20, "pos": 20}
    assert any(note.startswith("20 rows are dropped") for note in notes)


NOTED: dict[str, tuple[Files, str, str]] = {
    "spellings": (
        {"a.csv": csv_of([label if n % 5 else label.upper() for n, label in enumerate(AB)])},
        "",
        "LABELS=join",
    ),
    "full-width spellings": (
        {
            "a.csv": csv_of(
                [label if n % 5 else "\uff41\uff42"["ab".index(label)] for n, label in enumerate(AB)]
            )
        },
        "",
        "LABELS=join",
    ),
    "decomposed spellings": (
        {"a.csv": csv_of([f"{label}\u00e9" if n % 5 else f"{label}e\u0301" for n, label in enumerate(AB)])},
        "",
        "LABELS=join",
    ),
    "two labels for one text": (
        {"a.csv": csv_of([*AB, *"ab" * 10], [*TEXTS, *TEXTS[1:21]])},
        "",
        "20 texts (40 rows)",
    ),
    "nan": (
        {"a.csv": csv_of(["nan" if n % 10 == 5 else label for n, label in enumerate(AB)])},
        "",
        "'nan' (6 rows)",
    ),
    "decimal numbers": (
        {"a.csv": csv_of([("0.5", "1.0", "2", "3.75")[n % 4] for n in range(60)])},
        "",
        "a score is not learned as a number",
    ),
    "stars": ({"a.csv": csv_of([str(n % 5 + 1) for n in range(60)])}, "", "scale"),
    "numbers with names beside": (
        {"a.csv": csv_of(ZERO_ONE), "labels.txt": "neg\npos\n"},
        "",
        "labels.txt may name them",
    ),
    "letters decoded wrongly": (
        {"a.csv": csv_of(AB, [f"{one} caf\u00c3\u00a9" for one in TEXTS])},
        "",
        "caf\u00e9",
    ),
    "lost letters": ({"a.csv": csv_of(AB, [f"{one} caf\ufffd" for one in TEXTS])}, "", "lost"),
    "lists that are not read": (
        {
            "a.json": json.dumps(
                {name: [[one, label] for one, label in RIGHT] for name in ("train", "oos_train")}
            )
        },
        "",
        "#train+oos_train",
    ),
    "a test file without labels": (
        {
            "train.csv": csv_of(AB),
            "test.csv": "text\n" + "\n".join(others(9)),
            "sample_submission.csv": "id,label\n",
        },
        "{}",
        "make predict",
    ),
    "hidden rows": (
        {
            "a.xlsx": sheet(
                [["text", "label"], *RIGHT], lambda made: setattr(made.row_dimensions[4], "hidden", True)
            )
        },
        "",
        "1 hidden rows",
    ),
    "an index": (
        {"a.csv": csv_of(AB, [f"{n % 30},{one}" for n, one in enumerate(TEXTS)], ",text,label\n")},
        "",
        "column_1",
    ),
}


# These have consequences, so they are among the decisions on the screen, too.
ON_SCREEN = """spellings, full-width spellings, decomposed spellings, nan, decimal numbers,
letters decoded wrongly, lost letters, lists that are not read, a test file without labels, hidden rows"""


@pytest.mark.parametrize("name", " ".join(ON_SCREEN.split()).split(", "))
def test_a_warning_is_among_the_decisions(name: str, home: Path) -> None:
    files, data, say = NOTED[name]
    lines = fork(home, files, data)
    start = lines.index("To decide") + 2
    shown = lines[start : start + screen.DECISIONS]
    assert any(say in line for line in shown), shown


@pytest.mark.parametrize("name", NOTED)
def test_it_is_said(name: str, home: Path) -> None:
    files, data, say = NOTED[name]
    assert any(say in note for note in fork(home, files, data))


def test_a_test_file_without_labels_is_left_out(home: Path) -> None:
    fork(home, {"train.csv": csv_of(AB), "test.csv": "text\n" + "\n".join(others(9))}, "{}")
    dataset, rows = made()
    assert [*dataset.source.files] == ["train"]
    assert rows == RIGHT


def test_names_of_files_that_are_splits(home: Path) -> None:
    files = {
        "x_train.csv": csv_of(AB),
        "validate.csv": csv_of(AB, others(9)),
        "testset.csv": csv_of(AB, others(9, 2000)),
    }
    fork(home, files, "{}")
    assert {split: Path(file).name for split, file in made()[0].source.files.items()} == {
        "train": "x_train.csv",
        "dev": "validate.csv",
        "test": "testset.csv",
    }


PAIRS = jsonl_of([["a"], ["a", "b"]] * 30)
REFUSED: dict[str, tuple[Files, str, dict[str, str], str, str]] = {
    "no header": ({"a.csv": csv_of(AB, head="")}, "", {}, "data.no_header", 'FIELDS="text=1 label=2"'),
    "no header, tabs": ({"a.tsv": csv_of(AB, head="", by="\t")}, "", {}, "data.no_header", "HEADER=none"),
    "no header, pipes": ({"a.psv": csv_of(AB, head="", by="|")}, "", {}, "data.no_header", "HEADER=none"),
    "no header, a sheet": ({"a.xlsx": sheet(list(RIGHT))}, "", {}, "data.no_header", "HEADER=none"),
    "no header, prompts": (
        {"a.csv": csv_of([f"{one}!" for one in TEXTS], head="Hi there,Hello\n")},
        "",
        {"origin": "chat-lora"},
        "fork.unknown_columns",
        "HEADER=none",
    ),
    "one label": ({"a.csv": csv_of(["a"] * 60)}, "", {}, "labels.only_one", "60 rows"),
    "8 rows": ({"a.csv": csv_of(AB[:8])}, "", {}, "rows.too_few", "8 rows"),
    "a label with one row": ({"a.csv": csv_of(["x", *AB[1:]])}, "", {}, "labels.one_row", "'x'"),
    "more labels than test rows": (
        {"a.csv": csv_of([f"l{n % 20}" for n in range(60)])},
        "",
        {},
        "labels.too_many",
        "134 rows",
    ),
    "an id as label": (
        {"a.csv": csv_of([f"id{n}" for n in range(60)])},
        "",
        {"fields": "text=text label=label"},
        "labels.nearly_unique",
        "FROM=chat-lora",
    ),
    "one text": (
        {"a.csv": csv_of(AB, ["the same text"] * 60)},
        "",
        {"fields": "text=text label=label"},
        "rows.constant_text",
        "60 rows",
    ),
    "joined by |": (
        {"a.csv": csv_of([["a|b", "b|c", "a", "c", "b"][n % 5] for n in range(60)])},
        "",
        {},
        "labels.several_in_one",
        "LABELS=whole",
    ),
    "joined by commas": (
        {"a.csv": csv_of([['"a, b"', '"b, c"', "a", "c", "b"][n % 5] for n in range(60)])},
        "",
        {},
        "labels.several_in_one",
        "LABELS=whole",
    ),
    "lists": ({"a.jsonl": PAIRS}, "", {}, "labels.several_in_one", "['a', 'b']"),
    "lists, named": (
        {"a.jsonl": PAIRS},
        "",
        {"fields": "text=text label=label"},
        "labels.several_in_one",
        'WHERE="label|length == 1"',
    ),
    "lists as text": (
        {"a.csv": csv_of(["\"['a', 'b']\""] * 60)},
        "",
        {},
        "labels.several_in_one",
        "Keep one, such as 'a'",
    ),
    "columns of 0 and 1": (
        {"a.csv": csv_of([f"{n % 2},{n % 3 // 2}" for n in range(60)], head="text,toxic,insult\n")},
        "",
        {},
        "labels.several_columns",
        'FIELDS="label=toxic"',
    ),
    "a test label that train lacks": (
        {"train.csv": csv_of(AB), "test.csv": csv_of(["c"] * 9, others(9))},
        "{}",
        {},
        "labels.not_in_train",
        "'c' (9 rows)",
    ),
    "a shard that is missing": (
        {"train-00000-of-00002.jsonl": jsonl_of(AB)},
        "{}",
        {},
        "data.shard_missing",
        "1 of 2",
    ),
    "two files of one label": (
        {f"{label}/{name}.json": json.dumps(PIECES) for label in "ab" for name in ("train_x", "train_y")},
        "{}",
        {},
        "fork.ambiguous_file",
        "train_x.json",
    ),
    "a text file in another encoding": (
        {f"{label}/{n}.txt": f"caf\u00e9 {n}".encode("cp1252") for label in "ab" for n in range(9)},
        "{}",
        {},
        "rows.not_utf8",
        "ENCODING=",
    ),
    "a file of names that is short": (
        {"a.csv": csv_of([str(n % 3) for n in range(60)]), "n.csv": "0,neg\n1,pos\n"},
        "",
        {"labels": "{}/n.csv"},
        "labels.no_name",
        "'2'",
    ),
    "names whose first number is not clear": (
        {"a.csv": csv_of([str(n % 2 + 1) for n in range(60)]), "n.txt": "neg\npos\nneutral\n"},
        "",
        {"labels": "{}/n.txt"},
        "labels.bad_names",
        "two columns",
    ),
    "no file of names": ({"a.csv": csv_of(AB)}, "", {"labels": "{}/n.txt"}, "fork.no_such_file", "n.txt"),
    "names for conversations": (
        {
            "a.jsonl": "".join(
                json.dumps({"prompt": one, "completion": label}) + "\n" for one, label in RIGHT
            ),
            "n.csv": "a,neg\nb,pos\n",
        },
        "",
        {"labels": "{}/n.csv"},
        "option.bad_labels",
        "tables",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_what_to_do(name: str, home: Path) -> None:
    files, data, options, code, say = REFUSED[name]
    with pytest.raises(InputError) as caught:
        fork(home, files, data, **options)
    assert caught.value.code == code
    assert say in str(caught.value)
    assert not (home / "datasets" / "mine").exists()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("encoding", "klingon", "option.bad_encoding"),
        ("delimiter", "ab", "option.bad_table"),
        ("header", "first", "option.bad_table"),
        ("header", "0", "option.bad_table"),
    ],
)
def test_an_option_that_is_not_possible(name: str, value: str, code: str) -> None:
    given = dict.fromkeys(("encoding", "delimiter", "header", "sheet", "quotes"), "") | {name: value}
    with pytest.raises(InputError) as caught:
        table_options(**given)
    assert caught.value.code == code


def test_splits_of_the_hub_that_are_not_read_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "split_names", lambda *words: ["train", "validation", "oos_train"])
    assert "warning: splits not read: oos_train" in data_files.find("someone/rows", ROOT).notes


def test_only_files_of_rows_that_are_not_read_are_a_warning(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv", "extra.csv"):
        (tmp_path / name).write_text(csv_of(AB))
    (tmp_path / "README.md").write_text("x")
    notes = data_files.find(str(tmp_path), ROOT).notes
    assert "warning: not read: extra.csv" in notes and "not read: README.md" in notes
