"""Open files: compression by suffix, encoding by the first bytes.

In: a path. Out: a stream of bytes or text, decompressed while reading.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import json
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import psutil
import zstandard

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show
from tunebook.data.formats.encodings import SAMPLE, not_utf8

CHUNK = 1 << 16
LONGEST_LINE = 1 << 26  # bytes of a row of text: 64 MiB
COMPRESSED = {".gz": "gzip", ".zst": "Zstandard", ".bz2": "bzip2", ".xz": "xz", ".zip": "ZIP"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose byte order mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def kind_of(path: Path) -> str:
    """Return the suffix of the file type in lower case: `.csv` for `a.CSV` and `a.csv.gz`."""
    suffix = path.suffix.lower()
    if suffix not in COMPRESSED:
        return suffix
    inner = Path(path.stem).suffix.lower()
    if suffix == ".zip" and path.is_file():
        with contextlib.suppress(InputError), _member(path) as (_, name):
            return Path(name).suffix.lower()
    return inner


@contextlib.contextmanager
def _member(path: Path) -> Iterator[tuple[zipfile.ZipFile, str]]:
    """Open a ZIP archive and return it with the name of its only file.

    Raises:
        InputError: not a ZIP archive, an encrypted one, or one with several files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if len(names) != 1:
                listed = ", ".join(names[:9]) or "nothing"
                listed += ", ..." if len(names) > 9 else ""
                home = shlex.quote(str(path.with_suffix("")))
                text = f"has {len(names)} files ({listed}). "
                text += f"Unpack it with unzip {shlex.quote(str(path))} -d {home}, then set DATA={home}."
                raise InputError(Problem(text, show(path), code="data.several_in_zip"))
            yield archive, names[0]
    except zipfile.BadZipFile as error:
        text = f"not valid ZIP data: {error}."
        raise InputError(Problem(text, show(path), code="data.not_compressed")) from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed with an unsupported method
        text = f"{error}. Unpack the archive and name the file."
        raise InputError(Problem(text, show(path), code="data.not_compressed")) from None


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Open `path` for reading, decompressing on the fly.

    Raises:
        InputError: the compressed data is invalid or truncated.
    """
    packed = path.suffix.lower()
    try:
        # Rows take several times their text.
        memory = psutil.virtual_memory().total // 4
        if packed == ".gz":
            with gzip.open(path) as file:
                yield _limited(file, path, most=memory)
        elif packed == ".bz2":
            with bz2.open(path) as file:
                yield _limited(file, path, most=memory)
        elif packed == ".xz":
            with lzma.open(path) as file:
                yield _limited(file, path, most=memory)
        elif packed == ".zip":
            with _member(path) as (archive, name), archive.open(name) as member:
                yield _limited(member, path, most=memory)
        elif packed == ".zst":
            with path.open("rb") as raw:
                yield _limited(io.BufferedReader(_Unpacked(raw)), path, most=memory)
        else:
            with path.open("rb") as file:
                yield file
    except EOFError:
        text = f"the {COMPRESSED[packed]} data is truncated. Copy the file again."
        raise InputError(Problem(text, show(path), code="data.cut_off")) from None
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:
        if packed not in COMPRESSED:
            raise
        text = f"not valid {COMPRESSED.get(packed, packed)} data: {error}."
        raise InputError(Problem(text, show(path), code="data.not_compressed")) from None


class _Limited(io.RawIOBase):
    """A stream that refuses to go on once it has given more than `most` bytes, or `longest` without a line
    break: a file of a few kilobytes may unfold to a line that takes all memory."""

    def __init__(self, source: Any, path: Path, most: int | None, longest: int | None) -> None:
        self.source, self.path, self.most, self.longest = source, path, most, longest
        self.given = self.since = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.source.read1(len(buffer))
        buffer[: len(data)] = data
        self.given += len(data)
        if self.most is not None and self.given > self.most:
            text = f"decompresses to over {self.most / 2**30:.0f} GiB, a quarter of this machine's memory. "
            text += "Unpack it and split it."
            raise InputError(Problem(text, show(self.path), code="data.unfolds_too_far"))
        if self.longest is not None:
            end = data.rfind(b"\n")
            self.since = self.since + len(data) if end < 0 else len(data) - end - 1
            if self.since > self.longest:
                text = f"has a line of more than {self.longest >> 20} MiB. Write one row per line."
                raise InputError(Problem(text, show(self.path), code="data.line_too_long"))
        return len(data)


def _limited(
    source: Any, path: Path, most: int | None = None, longest: int | None = None
) -> io.BufferedReader:
    return io.BufferedReader(_Limited(source, path, most, longest), CHUNK)


class _Unpacked(io.RawIOBase):
    """A Zstandard stream that raises EOFError if the data is truncated, as gzip does but zstandard's own
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
def open_text(
    path: Path, newline: str = "\n", encoding: str | None = None, longest: int | None = LONGEST_LINE
) -> Iterator[TextIO]:
    """Open `path` as text without its byte order mark: in the given `encoding`, or else as UTF-8 unless the
    first bytes indicate UTF-16 or UTF-32. Bytes that are not UTF-8 become lone surrogates, so that
    `is_broken` can find their line.

    Args:
        longest: bytes that a line may have, None for a document that may be one line.

    Raises:
        InputError: the data cannot be decompressed, is invalid in its encoding, or has a longer line.
    """
    with open_bytes(path) as whole:
        raw = _limited(whole, path, longest=longest) if longest else whole
        start = raw.peek(4)[:4]
        marked = next((name for mark, name in BOMS.items() if start.startswith(mark)), None)
        if encoding and marked and not encoding.startswith(marked.removesuffix("-sig")):
            text = f"begins with the mark of {marked.removesuffix('-sig').upper()}, so it is not {encoding}. "
            text += "Leave ENCODING= out."
            raise InputError(Problem(text, show(path), code="data.not_in_encoding"))
        name = marked or encoding or json.detect_encoding(start)  # zeros between letters: UTF-16, unmarked
        errors = "surrogateescape" if name.startswith("utf-8") else "strict"
        try:
            yield io.TextIOWrapper(raw, encoding=name, errors=errors, newline=newline)
        except UnicodeError as error:  # of UTF-16 without its mark, no UnicodeDecodeError
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                reason = f"{error.reason} ({error.object[error.start : error.start + 4].hex(' ')})"
            if encoding:
                text = f"not {encoding} text: {reason}. Name another encoding: ENCODING=."
                raise InputError(Problem(text, show(path), code="data.not_in_encoding")) from None
            text = f"not {name.upper()} text: {reason}. Save the file as UTF-8."
            raise InputError(Problem(text, show(path), code="data.not_utf16")) from None


def broken_text(path: Path) -> str:
    """Return the message about a file with bytes that are not UTF-8: the probable encoding, and how to read
    it."""
    with open_bytes(path) as raw:
        sample = raw.read(SAMPLE)
        while sample.isascii() and b"\x1b" not in sample and (more := raw.read(SAMPLE)):
            sample = more
    return not_utf8(sample)


def is_broken(line: str) -> bool:
    """Return whether a line from `open_text` contains bytes that are not UTF-8."""
    return not line.isascii() and any("\udc80" <= letter <= "\udcff" for letter in line)
