"""Rows from the Hub's schemas: own-written twins always, the real sets where they are at hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError, MachineError, Problem
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.files.tables import read_table
from tunebook.data.render import render
from tunebook.data.sources import Source, oasst_best_paths, raw_rows

TWINS = ROOT / "tests" / "twins"
PUBLIC = ["banking77", "oasst2", "squad_v2"]


@pytest.fixture
def twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(TWINS))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_data_is_rendered_and_dev_is_cut_by_group(name: str, twins: None) -> None:
    dataset = load_dataset_config(name)
    rows = {split: render(dataset, split) for split in SPLITS}
    groups = {split: {row["group"] for row in rows[split]} for split in SPLITS}
    assert all(rows.values())
    assert not groups["train"] & groups["dev"], "dev is cut off train in whole groups"
    assert render(dataset, "dev") == rows["dev"], "the cut is seeded"
    assert load_dataset_config(str(dataset.stand_in)).task == dataset.task


def test_questions_without_an_answer_have_the_text_for_it(twins: None) -> None:
    rows = {row["id"]: row for row in render(load_dataset_config("squad_v2"), "test")}
    assert rows["w3"]["gold"] == {"answer": "unanswerable", "answers": []}
    assert rows["w1"]["gold"] == {"answer": "the male", "answers": ["the male", "male"]}
    assert rows["w1"]["messages"][1]["content"].endswith("\n\nWhich sex can fly?")


def test_best_paths_of_message_trees(twins: None) -> None:
    dataset = load_dataset_config("oasst2")
    rows = {row["group"]: row for row in render(dataset, "train") + render(dataset, "dev")}
    said = {tree: [turn["content"][:12] for turn in row["messages"]] for tree, row in rows.items()}
    assert said == {
        "a": ["How do I get", "Let it harde", "And if the c", "Use the cool"],
        "b": ["Name three r", "The Nile, th"],
        "d": ["Write me a r", "Rain, rain, ", "Make it gloo", "Rain on the "],
        "f": ["What is a go", "The bowline:"],
    }, "best rank; not deleted, rejected, foreign, or without a reply; no last turn of a user"
    assert rows["b"]["messages"][1]["content"].endswith("Lena.")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_other_kinds_of_file_give_the_same_rows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twins: None
) -> None:
    dataset = load_dataset_config("banking77")
    expected = [row["messages"] for row in render(dataset, "test")]
    rows = read_jsonl(TWINS / "banking77" / "test.jsonl")
    path = tmp_path / "banking77" / f"test.{kind}"
    path.parent.mkdir()
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path))
    assert [row["messages"] for row in render(dataset, "test")] == expected


@pytest.mark.parametrize(
    ("name", "text", "code", "line"),
    [
        ("a.csv", "", "data.no_header", None),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "rows.column_count", 3),
        ("a.csv", "a,b\n1\n", "rows.column_count", 2),
        ("a.csv", 'a,b\n1,"2', "data.not_csv", 2),
        ("a.parquet", "no", "data.not_parquet", None),
        ("a.txt", "", "data.unknown_kind", None),
    ],
)
def test_faulty_tables(name: str, text: str, code: str, line: int | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    try:
        problems = [row for _, row in read_table(tmp_path / name) if isinstance(row, Problem)]
    except InputError as error:
        problems = error.problems
    assert [(problem.code, problem.line) for problem in problems] == [(code, line)]


def test_the_hub_out_of_reach_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets  # type: ignore[import-untyped]

    def load_dataset(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(MachineError, match="'mteb/banking77'") as caught:
        render(load_dataset_config("banking77"), "test")
    assert caught.value.code == "hub.unreachable"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "either files or hub"),
        ({"hub": "a/b", "files": {"train": "x"}}, "either files or hub"),
        ({"hub": "a/b", "splits": {"train": "train", "test": "test"}}, "no dev split"),
        ({"files": {"train": "a", "dev": "b"}}, "no test split"),
        ({"files": {"train": "a", "dev": "b", "test": "c"}, "dev_share": 0.1}, "sets both a dev split"),
        ({"hub": "a/b", "splits": {"train": "a", "test": "b"}, "dev_share": 0.9}, "dev_share"),
    ],
)
def test_invalid_sources(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Source.model_validate(source)


def test_a_broken_where_is_named(tmp_path: Path) -> None:
    files = {"train": "a.jsonl", "dev": "a.jsonl", "test": "a.jsonl"}
    write(tmp_path / "a.jsonl", [{"lang": "en"}])
    with pytest.raises(InputError) as caught:
        raw_rows(Source(files=files, where="lang =="), tmp_path, "train")
    assert (caught.value.code, caught.value.problems[0].key) == ("data.bad_where", "source.where")


def test_best_paths_of_real_trees(real: Path) -> None:
    folder = real / "oasst1_en"
    messages = enumerate(read_jsonl(folder / "en-validation.messages.jsonl"), 1)
    found = {row["tree"]: row["turns"] for _, row in oasst_best_paths(iter(messages))}
    assert found == {
        row["tree"]: row["messages"] for row in read_jsonl(folder / "validation.best_path.jsonl")
    }


@pytest.mark.slow
def test_real_banking77(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        with (real / "banking77" / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            rows = [{"text": row["text"], "label_text": row["category"]} for row in csv.DictReader(file)]
        write(tmp_path / "banking77" / f"{split}.jsonl", rows)
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path))
    dataset = load_dataset_config("banking77")
    rows = {split: render(dataset, split) for split in SPLITS}
    assert {split: len(rows[split]) for split in SPLITS} == {"train": 8994, "dev": 1009, "test": 3080}
    assert {row["gold"]["answer"] for row in rows["dev"]} == set(dataset.labels), "stratified"


@pytest.mark.slow
def test_real_squad(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def questions(name: str) -> list[dict[str, Any]]:
        return [
            {
                "id": qa["id"],
                "title": article.get("title", "untitled"),
                "context": paragraph["context"],
                "question": qa["question"],
                "answers": {
                    "text": [answer["text"] for answer in qa["answers"]],
                    "answer_start": [answer["answer_start"] for answer in qa["answers"]],
                },
            }
            for article in json.loads((real / "squad" / name).read_text())["data"]
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]

    write(tmp_path / "squad_v2" / "train.jsonl", questions("cs224n-dev-v2.0.json"))
    write(tmp_path / "squad_v2" / "validation.jsonl", questions("test-xquad-en-disjoint.json"))
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path))
    dataset = load_dataset_config("squad_v2")
    rows = {split: render(dataset, split) for split in SPLITS}
    assert len(rows["train"]) + len(rows["dev"]) == 6078
    assert len(rows["test"]) == 838
    empty = sum(not row["gold"]["answers"] for row in rows["train"] + rows["dev"])
    assert empty == 3168
    assert not {row["group"] for row in rows["train"]} & {row["group"] for row in rows["dev"]}
