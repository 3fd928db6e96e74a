"""Open files: compression by the suffix, the encoding by the first bytes.

In: a path. Out: a stream of bytes or text, decompressed as it is read.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import zstandard

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show

CHUNK = 1 << 16
COMPRESSED = {".gz": "gzip", ".zst": "Zstandard"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def kind_of(path: Path) -> str:
    """Return the suffix of the file type in lower case: `.csv` for `a.CSV` and `a.csv.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Open `path` for reading and decompress it on the way.

    Raises:
        InputError: the compressed data is invalid or truncated.
    """
    packed = path.suffix.lower()
    try:
        if packed == ".gz":
            with gzip.open(path) as file:
                yield io.BufferedReader(file)
        elif packed == ".zst":
            with path.open("rb") as raw:
                yield io.BufferedReader(_Unpacked(raw))
        else:
            with path.open("rb") as file:
                yield file
    except EOFError:
        text = f"the {COMPRESSED[packed]} data is truncated. Copy the file again."
        raise InputError(Problem(text, show(path), code="data.cut_off")) from None
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        text = f"not valid {COMPRESSED.get(packed, packed)} data: {error}."
        raise InputError(Problem(text, show(path), code="data.not_compressed")) from None


class _Unpacked(io.RawIOBase):
    """A Zstandard stream that raises EOFError if the data is truncated, as gzip does and zstandard's own
    reader does not."""

    def __init__(self, packed: BinaryIO) -> None:
        self.packed, self.frame, self.ready = packed, zstandard.ZstdDecompressor().decompressobj(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            rest = self.frame.unused_data if self.frame.eof else b""
            piece = rest or self.packed.read(CHUNK)
            if not piece:
                if not self.frame.eof:
                    raise EOFError
                return 0
            if self.frame.eof:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.ready = self.frame.decompress(piece)
        size = min(len(buffer), len(self.ready))
        buffer[:size], self.ready = self.ready[:size], self.ready[size:]
        return size


@contextlib.contextmanager
def open_text(path: Path, newline: str = "\n") -> Iterator[TextIO]:
    """Open `path` as text without its byte order mark, as UTF-8 unless the first bytes show another
    encoding. Bytes that are not UTF-8 become lone surrogates, so that `is_broken` can find their line.

    Raises:
        InputError: the data cannot be decompressed, or is invalid UTF-16.
    """
    with open_bytes(path) as raw:
        encoding = _encoding(raw.peek(4)[:4])
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        try:
            yield io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)
        except UnicodeDecodeError as error:
            name = encoding.upper()
            text = f"not {name} text: {error.reason}. Save the file as UTF-8."
            raise InputError(Problem(text, show(path), code="data.not_utf16")) from None


def _encoding(start: bytes) -> str:
    for mark, name in BOMS.items():
        if start.startswith(mark):
            return name
    return json.detect_encoding(start)  # zeros between the first letters: UTF-16 without a mark


def is_broken(line: str) -> bool:
    """Return whether a line from `open_text` contains bytes that are not UTF-8."""
    return not line.isascii() and any("\udc80" <= letter <= "\udcff" for letter in line)
