"""Logs of child processes: readable by their owner only, and without secrets.

What a child writes goes through a pipe and is masked line by line (tunebook/core/secrets.py) before it is on
the disk: libraries print tokens, addresses with passwords and whole environments.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tunebook.core.secrets import Masker

MODE = 0o600
PAUSE = 0.5  # seconds after which half a line is written
LONGEST = 1 << 16  # bytes of a line that are held back
PATIENCE = 5.0  # seconds for the last lines, where a grandchild still holds the pipe


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, unbuffered; a new one is readable by its owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE), "ab", buffering=0)


@contextlib.contextmanager
def masked(path: Path) -> Iterator[BinaryIO]:
    """Yield a file for the output of child processes: what is written to it is appended to the log `path`
    without secrets, all of it by the end of the block."""
    reading, writing = os.pipe()
    with open_log(path) as log:
        thread = threading.Thread(target=_copy, args=(reading, log), daemon=True)
        thread.start()
        try:
            with os.fdopen(writing, "wb", buffering=0) as output:
                yield output
        finally:
            thread.join(PATIENCE)


def _copy(reading: int, log: BinaryIO) -> None:
    """Copy lines from `reading` to `log`, masked, until nobody can write any more."""
    mask, held = Masker(), b""
    with os.fdopen(reading, "rb", buffering=0) as source:
        while True:
            if held and not select.select([source], [], [], PAUSE)[0]:
                end = len(held)
            elif chunk := source.read(LONGEST):
                held += chunk
                end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
                if not end and len(held) > LONGEST:
                    end = held.rfind(b" ") + 1 or len(held)
            else:
                break
            _write(log, mask, held[:end])
            held = held[end:]
        _write(log, mask, held)


def _write(log: BinaryIO, mask: Masker, piece: bytes) -> None:
    if piece:
        text = mask(piece.decode("utf-8", "surrogateescape"))
        # A full disk is explained by the caller; the child must not wait for its output to be taken.
        with contextlib.suppress(OSError, ValueError):
            log.write(text.encode("utf-8", "surrogateescape"))
