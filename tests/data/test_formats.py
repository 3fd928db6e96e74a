"""Data files in every supported format: what is read, and the faults that are reported."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_cases import CASES, GOOD_FILES, Case, Content
from tests.support.snapshots import compare_with_snapshot
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.core.console import Console
from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import ROOT
from tunebook.data.files.tables import read_table

MESSAGES = ROOT / "tests" / "fixtures" / "fault_messages.txt"


def put(folder: Path, name: str, content: Content) -> Path:
    """Write a file: bytes as they are, text as UTF-8, rows as JSONL, JSON, Excel or Parquet by the name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_bytes(content.encode())
    elif ".jsonl" in name:
        path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode())
    elif ".json" in name:
        path.write_text(json.dumps(content), encoding="utf-8")
    elif name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
    else:
        import openpyxl

        book = openpyxl.Workbook()
        for row in content:
            book.active.append(list(row))
        book.save(path)
    return path


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, InputError]:
    """The error of each case by its name: a fork of its files, run in a folder of their own."""
    found = {}
    for case in CASES:
        home = tmp_path_factory.mktemp("case")
        with pytest.MonkeyPatch.context() as patch:
            for variable, name in (("TUNEBOOK_DATASETS", "datasets"), ("TUNEBOOK_RECIPES", "recipes")):
                (home / name).mkdir()
                patch.setenv(variable, str(home / name))
            patch.chdir(home)
            (home / "plain.yaml").write_text("base_model: Qwen/Qwen3-0.6B\nadapter: lora\n")
            for name, content in case.files.items():
                put(home, name, content)
            data = case.data or next(iter(case.files))
            with pytest.raises(InputError) as caught:
                run_fork(ForkOptions("plain.yaml", "mine", data, **case.options), Console())
        assert not [*(home / "datasets").iterdir()] and not [*(home / "recipes").iterdir()]
        found[case.name] = caught.value
    return found


def relative(text: str) -> str:
    """Return `text` without the path of a case's folder."""
    return re.sub(r"/\S*/case\d+/", "", text)


def place(problem: Problem) -> str:
    """Return `code file:line key`, as tests/support/fault_cases.py writes it."""
    where = f"{problem.file}:{int(problem.line)}" if problem.line else str(problem.file or "-")
    return relative(" ".join(part for part in (problem.code, where, problem.key) if part))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_has_its_code_and_place(case: Case, errors: dict[str, InputError]) -> None:
    assert [place(problem) for problem in errors[case.name].problems] == case.faults


def test_the_words_of_faults(errors: dict[str, InputError]) -> None:
    """`UPDATE_SNAPSHOTS=1` rewrites the file, so that a diff shows what people will read."""
    shown = {name: relative(str(error)) for name, error in errors.items()}
    compare_with_snapshot(MESSAGES, "\n".join(f"# {name}\n{text}\n" for name, text in shown.items()))


@pytest.mark.parametrize("name", GOOD_FILES)
def test_the_same_rows_in_every_kind_of_file(name: str, tmp_path: Path) -> None:
    rows = list(read_table(put(tmp_path, name, GOOD_FILES[name])))
    assert [row for _, row in rows] == [
        {"text": "caf\u00e9", "label": "a"},
        {"text": "two\nlines", "label": "b"},
    ]
    assert [int(number) for number, _ in rows] == ([1, 2] if "json" in name or "parquet" in name else [2, 3])


def test_rows_of_a_json_document_have_the_line_and_the_path_they_begin_at(tmp_path: Path) -> None:
    value = {"version": 1, "empty": [], "data": [{"a": "x" * 10}, {"a": [1, {"b": 2}]}], "more": {"c": [{}]}}
    path = put(tmp_path, "a.json", json.dumps(value, indent=1))
    rows: list[Any] = list(read_table(path))
    assert [(int(at), at.path, row) for at, row in rows] == [
        (5, "data[0]", value["data"][0]),  # type: ignore[index]
        (8, "data[1]", value["data"][1]),  # type: ignore[index]
    ]


def test_a_document_longer_than_the_window_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunebook.data.files.json_stream.CHUNK", 7)
    rows = [{"n": number, "text": "ab\u2028\n" * number} for number in range(12)]
    path = put(tmp_path, "a.json", json.dumps(rows, indent=1))
    assert [row for _, row in read_table(path)] == rows
    path.write_text(json.dumps(rows)[:-1])
    assert isinstance(list(read_table(path))[-1][1], Problem)


def test_several_packed_pieces_one_after_another_are_read(tmp_path: Path) -> None:
    import zstandard

    for name, pack in (("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)):
        path = put(tmp_path, name, pack(b'{"a": 1}\n') + pack(b'{"a": 2}\n'))
        assert [row for _, row in read_table(path)] == [{"a": 1}, {"a": 2}]


def test_a_long_packed_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    import zstandard

    lines = b"".join(b'{"n": %d}\n' % number for number in range(40_000))
    path = put(tmp_path, "a.jsonl.zst", zstandard.compress(lines))
    assert sum(row["n"] for _, row in read_table(path)) == sum(range(40_000))


def test_numbers_and_gaps_of_a_sheet(tmp_path: Path) -> None:
    path = put(tmp_path, "a.xlsx", [["text", "label"], ["hi", 1], [None, None], ["yo"]])
    assert list(read_table(path)) == [(2, {"text": "hi", "label": 1}), (4, {"text": "yo", "label": None})]


def test_several_sheets_are_refused(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.create_sheet("more")
    packed = io.BytesIO()
    book.save(packed)
    with pytest.raises(InputError, match=r"\(Sheet, more\)") as caught:
        list(read_table(put(tmp_path, "a.xlsx", packed.getvalue())))
    assert caught.value.code == "data.several_sheets"
