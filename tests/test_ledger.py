"""Files of records that survive being killed."""

from __future__ import annotations

from pathlib import Path

from tunebook.ledger import append, read


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == []


def test_every_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "a.jsonl"
    records = [{"text": "naïve \u2028 line\nend"}, {"n": 1}, {}]
    for record in records:
        append(path, record)
    assert read(path) == records


def test_half_a_line_is_skipped_and_not_joined_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, {"n": 1})
    append(path, {"text": "é"})
    whole = path.read_bytes()
    for cut in range(1, len('{"text": "é"}\n'.encode())):
        path.write_bytes(whole[:-cut])
        append(path, {"n": 3})
        assert read(path) == [{"n": 1}, *([{"text": "é"}] if cut == 1 else []), {"n": 3}]
