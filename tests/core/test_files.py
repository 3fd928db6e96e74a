"""Files of records that survive being killed."""

from __future__ import annotations

from pathlib import Path

from tunebook.core.files import append_record, read_records


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
