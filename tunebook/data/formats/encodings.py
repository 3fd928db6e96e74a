"""Guess the encoding of a file that is not UTF-8, and detect text that was decoded with the wrong encoding.

In: bytes or text. Out: the name of a codec for `ENCODING=`, or the text as it should have been. Nothing is
decoded by a guess: the name is only suggested.
"""

from __future__ import annotations

import codecs
import re

from tunebook.core.errors import InputError, Problem

SAMPLE = 1 << 18  # number of bytes examined
CONFIDENT = 0.25
# Python's codecs for the names used by chardet; a superset replaces a narrower codec.
CODEC_OF = {
    "iso-8859-1": "cp1252",
    "windows-1252": "cp1252",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "euc-kr": "cp949",
}
NAME_OF = {
    "cp1252": "Windows-1252",
    "cp932": "Shift-JIS",
    "gb18030": "GBK",
    "cp949": "EUC-KR",
    "big5": "Big5",
    "koi8-r": "KOI8-R",
}
JAPANESE_7_BIT = re.compile(r"\x1b\$[@B]")  # ISO-2022-JP; its bytes are all ASCII
WRONG_TWICE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2122]|\u00e2\u20ac"
)
LOST = re.compile("\ufffd|\u951f\u65a4\u62f7")  # the replacement character, and its UTF-8 bytes read as GBK
# characters that occur when Windows-1252 is read as Latin-1
CONTROLS = re.compile("[\u0080-\u0084\u0086-\u009f]")


def known_encoding(name: str) -> str:
    """Return Python's name for an encoding.

    Raises:
        InputError: there is no such encoding.
    """
    try:
        return codecs.lookup(name).name
    except LookupError:
        text = f"unknown encoding (got {name!r}). Examples: cp1252, shift_jis, gb18030, big5, euc_kr, koi8_r."
        raise InputError(Problem(text, key="--encoding (ENCODING=)", code="option.bad_encoding")) from None


def probable(sample: bytes) -> str | None:
    """Return the codec in which `sample` is probably written, or None if it could be any."""
    import chardet

    if JAPANESE_7_BIT.search(sample.decode("ascii", errors="ignore")):
        return "iso2022_jp"
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    found = chardet.detect(b"\n".join(lines) or sample)
    name = (found["encoding"] or "").lower()
    if name and name not in ("ascii", "utf-8") and (found["confidence"] or 0) >= CONFIDENT:
        codec = CODEC_OF.get(name, name)
        if (
            codec.startswith(("windows-125", "iso-8859"))
            and _reads(sample, codec)
            and _reads(sample, "cp1252")
        ):
            if sample.decode(codec, "ignore") == sample.decode("cp1252", "ignore"):
                codec = "cp1252"  # the most common of the codecs that decode this text identically
        return codec if _reads(sample, codec) else None
    even = sample[: len(sample) // 2 * 2]
    for codec in ("utf-16-le", "utf-16-be"):
        if _reads(even, codec) and _is_prose(even.decode(codec)):
            return codec
    return None


def _reads(sample: bytes, codec: str) -> bool:
    """Return whether the codec decodes `sample`, whose last character may be truncated."""
    try:
        codecs.getincrementaldecoder(codec)().decode(sample)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _is_prose(text: str) -> bool:
    """Return whether a text consists of common letters; UTF-16 without a byte order mark does so in one byte
    order only."""
    common = re.findall("[\n -~\u3001-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e\u0400-\u04ff]", text)
    return len(common) > 0.9 * len(text) and "\n" in text


def not_utf8(sample: bytes) -> str:
    """Return the message for a file whose bytes are not UTF-8: the probable encoding and how to use it."""
    codec = probable(sample)
    if codec is None:
        return "not UTF-8 text. Save the file as UTF-8, or give its encoding, such as ENCODING=cp1252."
    line = next((line for line in sample.split(b"\n") if not line.isascii() or b"\x1b" in line), b"")
    line = sample if codec.startswith("utf-16") else line
    shown = " ".join(line.decode(codec, errors="ignore").split())[:60]
    name = NAME_OF.get(codec, codec.upper())
    return (
        f"not UTF-8 text; probably {name}, as in {shown!r}. To read it with this encoding, use "
        f"ENCODING={codec}."
    )


def repaired(text: str) -> str | None:
    """Return the original of a text whose UTF-8 was read as Windows-1252 or another 8-bit encoding ("Ã©" for
    "é"), or None if there is no sign of that."""
    if text.isascii():
        return None
    if WRONG_TWICE.search(text):
        pieces = re.findall(r"[^\x00-\x7f]+|[\x00-\x7f]+", text)
        made = "".join(_once(piece, "cp1252") or piece for piece in pieces)
        if made != text:
            return made
    pieces = re.findall(r"[^\x00-\x7f]+|[\x00-\x7f]+", text)
    for codec in ("cp1251", "gb18030", "cp1252"):
        found = [_once(piece, codec) if len(piece) > 3 else None for piece in pieces]
        if any(found):
            return "".join(one or piece for one, piece in zip(found, pieces, strict=True))
    return None


def _once(piece: str, codec: str) -> str | None:
    """Return a piece that was decoded with `codec` although it was UTF-8, or None if it was not."""
    if piece.isascii():
        return None
    try:
        made = b"".join(
            letter.encode("latin-1") if CONTROLS.match(letter) else letter.encode(codec) for letter in piece
        )
        read = made.decode("utf-8")
    except UnicodeError:
        return None
    return read if len(read) < len(piece) and read.isprintable() else None
