"""Tables as people have them: titles, totals, delimiters, encodings, sheets, JSON of several shapes."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError, Problem
from tunebook.data.files.json_rows import beside_rows, lists_of
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.files.tables import read_table
from tunebook.data.formats.encodings import repaired

ROWS = [{"text": "hello you", "label": "a"}, {"text": "hello me", "label": "b"}]
BODY = "hello you,a\nhello me,b\n"
CSV = f"text,label\n{BODY}"
NUMBERED = [{"column_1": row["text"], "column_2": row["label"]} for row in ROWS]
TSV = 'text\tlabel\n"Say hi\tb\nhello "you"\ta\nhi"\tb\n'
Build = Callable[[Path], None]


def read(folder: Path, name: str, content: bytes | str | Build, **options: Any) -> list[tuple[int, Any]]:
    path = folder / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_table(path, TableOptions(**options)))


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()


def sheet(rows: list[list[Any]], change: Callable[[Any], object] = lambda _: None) -> Build:
    """Return what writes a workbook with these rows, after a change to its sheet."""

    def build(path: Path) -> None:
        import openpyxl

        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        change(book.active)
        book.save(path)

    return build


SHEET = [["text", "label"], *[list(row.values()) for row in ROWS]]
READ: dict[str, tuple[str, bytes | str | Build, dict[str, Any], list[dict[str, Any]]]] = {
    "semicolons, commas in the text": (
        "a.csv",
        "text;label\nhi, you;a\n",
        {},
        [{"text": "hi, you", "label": "a"}],
    ),
    "pipes": ("a.csv", CSV.replace(",", "|"), {}, ROWS),
    "pipes in a .psv": ("a.psv", CSV.replace(",", "|"), {}, ROWS),
    "a delimiter that is named": ("a.txt", CSV.replace(",", "~"), {"delimiter": "~"}, ROWS),
    "tabs in a .txt": ("a.txt", CSV.replace(",", "\t"), {"delimiter": "tab"}, ROWS),
    "Excel's line sep=": ("a.csv", "sep=;\n" + CSV.replace(",", ";"), {}, ROWS),
    "blank lines above": ("a.csv", "\n\n" + CSV, {}, ROWS),
    "a title and its line": ("a.csv", "Report, 2026\n\n" + CSV, {"header": 3}, ROWS),
    "no header": ("a.csv", BODY, {"header": "none"}, NUMBERED),
    "no header with tabs": ("a.tsv", BODY.replace(",", "\t"), {"header": "none"}, NUMBERED),
    "an index column": (
        "a.csv",
        ",text,label\n0,hello you,a\n",
        {},
        [{"column_1": "0", "text": "hello you", "label": "a"}],
    ),
    "quotes as letters": (
        "a.tsv",
        TSV,
        {"quotes": False},
        [
            {"text": '"Say hi', "label": "b"},
            {"text": 'hello "you"', "label": "a"},
            {"text": 'hi"', "label": "b"},
        ],
    ),
    "a quoted line break": ("a.csv", 'text,label\n"hi\nyou",a\n', {}, [{"text": "hi\nyou", "label": "a"}]),
    "bzip2": ("a.csv.bz2", bz2.compress(CSV.encode()), {}, ROWS),
    "xz": ("a.csv.xz", lzma.compress(CSV.encode()), {}, ROWS),
    "ZIP named after nothing": ("a.zip", zipped(a=CSV), {}, ROWS),
    "a list in a .jsonl": ("a.jsonl", "[" + ",\n".join(map(json.dumps, ROWS)) + "]", {}, ROWS),
    "a list on one line of a .jsonl": ("a.jsonl", json.dumps(ROWS), {}, ROWS),
    "objects over several lines in a .jsonl": (
        "a.jsonl",
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        {},
        ROWS,
    ),
    "objects one after another": ("a.json", "".join(map(json.dumps, ROWS)), {}, ROWS),
    "objects one after another, with line breaks": (
        "a.json",
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        {},
        ROWS,
    ),
    "lines in an .ndjson": ("a.ndjson", "\n".join(map(json.dumps, ROWS)), {}, ROWS),
    "a comma behind the last row": ("a.json", json.dumps(ROWS)[:-1] + ",\n]", {}, ROWS),
    "lists of cells": ("a.json", json.dumps([list(row.values()) for row in ROWS]), {}, NUMBERED),
    "lists of cells in lines": (
        "a.jsonl",
        "\n".join(json.dumps([*row.values()]) for row in ROWS),
        {},
        NUMBERED,
    ),
    "lists of cells with names": ("a.json", json.dumps(SHEET), {}, ROWS),
    "an object of objects": (
        "a.json",
        json.dumps({"7": ROWS[0], "8": ROWS[1]}),
        {},
        [{"id": "7", **ROWS[0]}, {"id": "8", **ROWS[1]}],
    ),
    "a delimiter at the end of each line": (
        "a.csv",
        CSV.replace("a\n", "a,\n").replace("b\n", "b,\n"),
        {},
        ROWS,
    ),
    "a delimiter at the end of the header": (
        "a.csv",
        CSV.replace("label\n", "label,\n"),
        {},
        [{**row, "column_3": ""} for row in ROWS],
    ),
    "a sheet": ("a.xlsx", sheet(SHEET), {}, ROWS),
    "blank rows above": ("a.xlsx", sheet([[], [], *SHEET]), {}, ROWS),
    "a title in a sheet and its row": ("a.xlsx", sheet([["Report"], [], *SHEET]), {"header": 3}, ROWS),
    "a sheet without header": ("a.xlsx", sheet(SHEET[1:]), {"header": "none"}, NUMBERED),
}


@pytest.mark.parametrize("name", READ)
def test_it_is_read(name: str, tmp_path: Path) -> None:
    file, content, options, rows = READ[name]
    assert [row for _, row in read(tmp_path, file, content, **options)] == rows


REFUSED: dict[str, tuple[str, bytes | str | Build, dict[str, Any], str, int | None, str]] = {
    "a title above": ("a.csv", "Report 2026\n\n" + CSV, {}, "data.title_above", 1, "HEADER=3"),
    "a title with commas": ("a.csv", "Report 2026,\n" + CSV, {}, "data.title_above", 1, "HEADER=2"),
    "a title above a sheet": (
        "a.xlsx",
        sheet([["Report"], [], *SHEET]),
        {},
        "data.title_above",
        1,
        "HEADER=3",
    ),
    "a header line that is not there": ("a.csv", CSV, {"header": 9}, "data.no_header", None, "HEADER=9"),
    "totals below": ("a.csv", CSV + "Total,2\n", {}, "rows.totals", 4, "Remove"),
    "totals below a sheet": ("a.xlsx", sheet([*SHEET, ["Summe", 2]]), {}, "rows.totals", 4, "Remove"),
    "a header again": ("a.csv", CSV + CSV, {}, "rows.repeated_header", 4, "Remove"),
    "a header again, with a mark": ("a.csv", CSV + "\ufeff" + CSV, {}, "rows.repeated_header", 4, "Remove"),
    "a header again in a sheet": ("a.xlsx", sheet([*SHEET, *SHEET]), {}, "rows.repeated_header", 4, "Remove"),
    "Qualtrics": (
        "a.csv",
        'text,label\n"Write a text, please",Which kind?\n"{""ImportId"":""Q1""}","{""ImportId"":""Q2""}"\n'
        + BODY,
        {},
        "rows.repeated_header",
        2,
        "Write a text",
    ),
    "SurveyMonkey": (
        "a.xlsx",
        sheet([SHEET[0], ["Open-Ended Response", "Response"], *SHEET[1:]]),
        {},
        "rows.repeated_header",
        2,
        "Remove",
    ),
    "quotes after a backslash": (
        "a.csv",
        'text,label\n"say \\"hi\\", you",a\n',
        {},
        "data.not_csv",
        2,
        "escapechar=chr(92)",
    ),
    "a list of texts for each label": (
        "a.json",
        '{"a": ["hello you", "hi"], "b": ["hello me"]}',
        {},
        "data.not_json_list",
        1,
        "for each label",
    ),
    "a comma in a text": ("a.csv", CSV + "so, so,a\n", {}, "rows.column_count", 4, '"so, so",a'),
    "two delimiters": ("a.csv", "a;b,c\nx;y,z\n", {}, "data.ambiguous_delimiter", 1, "DELIMITER=semicolon"),
    "quotes that are letters": ("a.tsv", TSV, {}, "data.not_csv", 2, "QUOTES=none"),
    "an open quote": (
        "a.tsv",
        'text\tlabel\n"hi\ta\nyou\tb\nme"\tb\n',
        {},
        "rows.open_quote",
        2,
        "QUOTES=none",
    ),
    "a comma in an object": ("a.json", '[{"a": 1,},\n{"a": 2}]', {}, "data.not_json_list", 1, "comma"),
    "a comment": ("a.json", '[\n// no\n{"a": 1}]', {}, "data.not_json_list", 2, "comment"),
    "single quotes": ("a.json", "[\n{'a': 1}]", {}, "data.not_json_list", 2, "double quotes"),
    "words of Python": ("a.json", '[{"a": None}]', {}, "data.not_json_list", 1, "null"),
    "lists that may be splits": (
        "a.json",
        '{"one": [{"a": 1}],\n"two": [{"a": 1}]}',
        {},
        "data.not_json_list",
        2,
        "#one",
    ),
    "a row of another length": ("a.json", "[[1, 2],\n[1, 2, 3]]", {}, "rows.column_count", 2, "expected 2"),
    "two files in a ZIP": ("a.zip", zipped(a=CSV, b=CSV), {}, "data.several_in_zip", None, "Unpack"),
    "not bzip2": ("a.csv.bz2", b"text", {}, "data.not_compressed", None, "bzip2"),
    "merged cells": (
        "a.xlsx",
        sheet(SHEET, lambda made: made.merge_cells("B2:B3")),
        {},
        "data.merged_cells",
        1,
        "B2:B3",
    ),
    "a formula without value": (
        "a.xlsx",
        sheet([*SHEET, ["=A2", "a"]]),
        {},
        "data.formula_without_value",
        None,
        "A4",
    ),
    "an error of Excel": ("a.xlsx", sheet([*SHEET, ["#N/A", "a"]]), {}, "rows.excel_error", 4, "#N/A"),
    "a value beyond the names": ("a.xlsx", sheet([*SHEET, ["x", "a", "b"]]), {}, "rows.column_count", 4, "2"),
    "a sheet that is not there": (
        "a.xlsx",
        sheet(SHEET),
        {"sheet": "Rows"},
        "option.unknown_sheet",
        None,
        "Sheet",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    file, content, options, code, line, say = REFUSED[name]
    try:
        found = next(row for _, row in read(tmp_path, file, content, **options) if isinstance(row, Problem))
    except InputError as error:
        found = error.problems[0]
    assert (found.code, found.line) == (code, line)
    assert say in found.text


TEXT_OF = {
    "cp1252": "le caf\u00e9 est ferm\u00e9, o\u00f9 est l\u2019\u00e9t\u00e9 \u00e0 No\u00ebl",
    "cp932": "\u6ce8\u6587\u3092\u30ad\u30e3\u30f3\u30bb\u30eb\u3057\u305f\u3044\u306e\u3067\u3059\u304c",
    "gb18030": "\u6211\u60f3\u53d6\u6d88\u6211\u7684\u8ba2\u5355\uff0c\u8c22\u8c22\u4f60\u4eec",
    "big5": "\u6211\u60f3\u53d6\u6d88\u6211\u7684\u8a02\u55ae\uff0c\u8b1d\u8b1d\u4f60\u5011",
    "cp949": "\uc8fc\ubb38\uc744 \ucde8\uc18c\ud558\uace0 \uc2f6\uc2b5\ub2c8\ub2e4",
    "koi8-r": "\u042f \u0445\u043e\u0447\u0443 \u043e\u0442\u043c\u0435\u043d\u0438\u0442\u044c",
    "iso2022_jp": "\u6ce8\u6587\u3092\u30ad\u30e3\u30f3\u30bb\u30eb\u3057\u305f\u3044",
}


@pytest.mark.parametrize("codec", TEXT_OF)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_another_encoding_is_named_and_then_read(codec: str, name: str, tmp_path: Path) -> None:
    text = TEXT_OF[codec]
    row = (
        f'text;label\n"{text}";a\n'
        if name == "a.csv"
        else json.dumps({"text": text}, ensure_ascii=False) + "\n"
    )
    content = row.encode(codec)
    found = [one for _, one in read(tmp_path, name, content) if isinstance(one, Problem)]
    assert found[0].code == "rows.not_utf8"
    assert f"ENCODING={codec}." in found[0].text
    assert text[:20] in found[0].text
    assert read(tmp_path, name, content, encoding=codec)[0][1]["text"] == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "utf-32"])
def test_the_first_bytes_show_a_wide_encoding(codec: str, tmp_path: Path) -> None:
    text = TEXT_OF["gb18030"]
    assert read(tmp_path, "a.csv", f"text,label\n{text},a\n".encode(codec))[0][1]["text"] == text


def test_wide_text_without_a_mark_and_without_latin_letters_is_named(tmp_path: Path) -> None:
    text = TEXT_OF["gb18030"]
    with pytest.raises(InputError, match="ENCODING=utf-16-le") as caught:
        read(tmp_path, "a.csv", f"{text}\n{text}\n".encode("utf-16-le"))
    assert caught.value.code == "rows.not_utf8"


def test_a_file_that_is_not_in_the_named_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "a.csv", CSV.encode() + b"\xff\xff\x81,a\n", encoding="shift_jis")
    assert caught.value.code == "data.not_in_encoding"


@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_text_decoded_wrongly_before_is_noticed(wrong: str) -> None:
    text = "d\u00e9j\u00e0 vu \u2014 caf\u00e9"
    assert repaired(text.encode().decode(wrong)) == text
    assert (
        repaired(text)
        is repaired("\u00abCAFÉ\u00bb MA\u00c7\u00c3")
        is repaired("\u4f60\u597d\u4e16\u754c")
        is None
    )


def test_numbers_of_a_sheet_are_as_shown(tmp_path: Path) -> None:
    from datetime import date, datetime

    def zeros(made: Any) -> None:
        made["B2"].number_format = "0000"

    row = ["007", 7, 2.0, 0.5, True, date(2026, 1, 5), datetime(2026, 1, 5, 14, 30)]
    names = [f"c{number}" for number in range(len(row))]
    found = read(tmp_path, "a.xlsx", sheet([names, row], zeros))[0][1]
    assert list(found.values()) == ["007", "0007", 2, 0.5, True, *map(str, row[5:])]


def test_names_of_classes_in_arrow(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    table = {"text": ["hello you", "hello me"], "label": [1, 0]}
    made = datasets.Dataset.from_dict(table, features=datasets.Features(kinds))
    datasets.disable_progress_bars()
    made.save_to_disk(str(tmp_path / "saved"))
    file = next((tmp_path / "saved").glob("*.arrow"))
    assert [row["label"] for _, row in read_table(file)] == ["pos", "neg"]


@pytest.mark.parametrize("kind", ["Sequence", "List"])
def test_names_of_classes_in_lists(kind: str, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    label = {"feature": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "_type": kind}
    note = json.dumps({"info": {"features": {"labels": label}}}).encode()
    made = pyarrow.table({"labels": [[1], [0, 1], None]}).replace_schema_metadata({b"huggingface": note})
    pyarrow.parquet.write_table(made, tmp_path / "a.parquet")
    rows = [row["labels"] for _, row in read_table(tmp_path / "a.parquet")]
    assert rows == [["pos"], ["neg", "pos"], None]


def test_lists_of_an_object(tmp_path: Path) -> None:
    path = tmp_path / "data_full.json"
    path.write_text(json.dumps({"val": [["a b", "x"]], "oos": [], "train": [["c d", "x"], ["e f", "y"]]}))
    assert lists_of(path, AS_IT_IS) == {"val": 1, "train": 2}
    rows = [row for _, row in read_table(path, AS_IT_IS, ["train", "val"])]
    assert [row["column_1"] for row in rows] == ["a b", "c d", "e f"]


@pytest.mark.parametrize(
    ("document", "beside"),
    [
        ({"version": "1.0", "data": ROWS}, {"version": "1.0"}),
        ({"Definition": ["Say it."], "Instances": ROWS, "next": None}, {"Definition": ["Say it."]}),
        ({"meta": {"system": "Be brief."}, "nlu": {"rows": ROWS}}, {"meta.system": "Be brief."}),
        ({"7": ROWS[0], "8": ROWS[1]}, {}),
        (ROWS, {}),
    ],
)
def test_values_beside_the_rows_of_a_document(document: Any, beside: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert beside_rows(tmp_path / "a.json", AS_IT_IS) == beside


def test_a_number_format_that_shows_zeros_at_the_end(tmp_path: Path) -> None:
    def shown(made: Any) -> None:
        for cell in made["B"]:
            cell.number_format = "0.00"

    rows = read(tmp_path, "a.xlsx", sheet([["text", "label"], ["one", 1.1], ["two", 1.123]], shown))
    assert [row["label"] for _, row in rows] == ["1.10", 1.123]
