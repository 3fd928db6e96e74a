"""Files of records that survive being killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunebook.core.errors import InputError
from tunebook.core.files import append_record, read_json, read_jsonl, read_records, write_jsonl


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == []


def test_every_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "a.jsonl"
    records = [{"text": "naïve \u2028 line\nend"}, {"n": 1}, {}]
    for record in records:
        append_record(path, record)
    assert read_records(path) == records


def test_half_a_line_is_skipped_and_not_joined_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_record(path, {"n": 1})
    append_record(path, {"text": "é"})
    whole = path.read_bytes()
    for cut in range(1, len('{"text": "é"}\n'.encode())):
        path.write_bytes(whole[:-cut])
        append_record(path, {"n": 3})
        assert read_records(path) == [{"n": 1}, *([{"text": "é"}] if cut == 1 else []), {"n": 3}]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n{"n"\n')
    for read, line in ((read_json, None), (read_jsonl, 2)):
        with pytest.raises(InputError, match=r"a\.jsonl(:2)?: damaged \(") as caught:
            read(path)
        assert (caught.value.code, caught.value.problems[0].line) == ("run.damaged_file", line)


def test_rows_come_back_and_no_other_file_is_left(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\r"}, {"text": "é"}]
    write_jsonl(tmp_path / "new" / "a.jsonl", rows)
    assert read_jsonl(tmp_path / "new" / "a.jsonl") == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.jsonl"]
