"""Files that unfold to more than memory, or have a line that does, are refused while they are read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from tunebook.core.errors import InputError
from tunebook.data.files import json_stream
from tunebook.data.files.tables import read_table
from tunebook.data.formats import open_file

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
ROW = {"text": "x" * 500, "label": "a"}


def write(path: Path, content: bytes) -> Path:
    """Write `content` to `path`, packed as its suffix says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, content)
    else:
        path.write_bytes(PACK.get(path.suffix, bytes)(content))
    return path


@pytest.mark.parametrize("suffix", [*PACK, ".zip"])
@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".json"])
def test_a_file_that_unfolds_too_far(
    kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file.psutil, "virtual_memory", lambda: SimpleNamespace(total=4 * 300_000))
    rows = [ROW] * 1000
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    table = "text,label\n" + "".join(f"{row['text']},a\n" for row in rows)
    text = {".jsonl": lines, ".csv": table, ".json": json.dumps(rows)}[kind]
    packed = write(tmp_path / f"a{kind}{suffix}", text.encode())
    assert packed.stat().st_size < 30_000
    with pytest.raises(InputError) as caught:
        list(read_table(packed))
    assert caught.value.code == "data.unfolds_too_far" and packed.name in str(caught.value)
    few = write(tmp_path / f"few{kind}{suffix}", text[:1].encode() + b"\n" if kind == ".csv" else b"[]")
    list(read_table(few))


@pytest.mark.parametrize("suffix", ["", *PACK, ".zip"])
@pytest.mark.parametrize("kind", [".jsonl", ".csv"])
def test_a_line_that_is_too_long(
    kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file.open_text.__wrapped__, "__defaults__", ("\n", None, 100_000))
    head = json.dumps(ROW) + "\n" if kind == ".jsonl" else "text,label\nb,a\n"
    path = write(tmp_path / f"a{kind}{suffix}", (head + '"' + "x" * 300_000).encode())
    with pytest.raises(InputError) as caught:
        list(read_table(path))
    assert caught.value.code == "data.line_too_long"


def test_a_document_may_be_one_line_but_no_row_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", 1000)
    monkeypatch.setattr(json_stream, "LONGEST_VALUE", 20_000)
    path = write(tmp_path / "a.json", json.dumps([ROW] * 400).encode())
    assert len(list(read_table(path))) == 400
    path = write(tmp_path / "a.json", json.dumps([ROW, {"text": "x" * 300_000, "label": "a"}]).encode())
    problems = [value for _, value in read_table(path) if not isinstance(value, dict)]
    assert len(problems) == 1 and "MiB" in problems[0].text and problems[0].line


def test_the_stated_limit_is_the_one_in_use() -> None:
    assert open_file.open_text.__wrapped__.__defaults__ == ("\n", None, 1 << 26)
