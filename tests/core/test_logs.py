"""Logs: what children write is masked before it is on the disk, and nobody else may read it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.test_secrets import KEYS, A
from tunebook.core.logs import LONGEST, PAUSE, masked
from tunebook.core.secrets import HIDDEN, Masker
from tunebook.runs.run import Run


def logged(folder: Path, *pieces: bytes, pause: float = 0.0) -> str:
    """Return the log of what is written in `pieces`."""
    path = folder / "log.txt"
    with masked(path) as output:
        for piece in pieces:
            output.write(piece)
            time.sleep(pause)
    return path.read_bytes().decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", KEYS)
def test_a_key_in_the_output_of_a_child_is_masked_in_its_log(name: str, tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('error: ' + sys.argv[1] + ' !\\n'); print('after')"
    with masked(tmp_path / "log.txt") as output:
        subprocess.run([sys.executable, "-c", code, KEYS[name]], stdout=output, stderr=output, check=True)
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("error: ") and HIDDEN in text and text.endswith("after\n")
    assert not [part for part in (A[:16], "Hunter2x", "wJalrX", "IOSFODNN") if part in text]


def test_a_key_that_comes_in_two_pieces(tmp_path: Path) -> None:
    key = KEYS["Hugging Face"].encode()
    assert logged(tmp_path, b"a " + key[:9], key[9:] + b" b\n") == f"a {HIDDEN} b\n"


def test_values_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_API_KEY", "only letters")
    assert logged(tmp_path, b"sent only letters along\n") == f"sent {HIDDEN} along\n"


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_private_key_whose_lines_come_one_by_one(cut: int, tmp_path: Path) -> None:
    lines = ["-----BEGIN RSA " + "PRIVATE KEY-----", A, A, "-----END RSA PRIVATE KEY-----", "after"]
    head, tail = "\n".join(lines[:cut]) + "\n", "\n".join(lines[cut:]) + "\n"
    text = logged(tmp_path, b"before\n", head.encode(), tail.encode(), pause=0.05)
    assert text.startswith("before\n") and text.endswith("after\n")
    assert HIDDEN in text and A not in text and "END" not in text


def test_the_first_line_of_a_key_alone_hides_nothing_else(tmp_path: Path) -> None:
    first = "not a key: -----BEGIN " + "PRIVATE KEY-----\n"
    text = logged(tmp_path, first.encode(), b"step 1 of 9\n", pause=0.05)
    assert text == f"not a key: {HIDDEN}\nstep 1 of 9\n" or text == f"not a key: {HIDDEN}step 1 of 9\n"


def test_other_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    given = [b"10%\r20%\r", "caf\u00e9 ".encode(), b"\xff\xfe no text\n", b"x" * (3 * LONGEST), b"\nlast"]
    assert logged(tmp_path, *given).encode("utf-8", "surrogateescape") == b"".join(given)


@pytest.mark.parametrize("letter", ["x", "x ", "a/", "-", "token", "eyJ", "sk-", "=", "://", "a:", ".", "\n"])
def test_a_long_line_is_masked_soon(letter: str) -> None:
    """No form takes more than linear time: this test would not end."""
    begin = "-----BEGIN " + "PRIVATE KEY-----\n"
    for text in (letter * 20_000, begin + letter * 20_000 + "!", "token=" + letter * 20_000):
        assert isinstance(Masker()(text), str)


def test_half_a_line_is_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with masked(path) as output:
        output.write(b"waiting")
        deadline = time.monotonic() + 20 * PAUSE
        while not path.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.05)
        assert path.read_bytes() == b"waiting"


@pytest.mark.slow
def test_a_child_that_leaves_another_behind_holds_nobody_up(tmp_path: Path) -> None:
    with masked(tmp_path / "log.txt") as output:
        subprocess.run(["sh", "-c", "sleep 30 & echo done"], stdout=output, check=True)
        (tmp_path / "log.txt").touch()
    assert (tmp_path / "log.txt").read_text() == "done\n"


def test_logs_and_run_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run = Run(tmp_path / "recipe" / "abc")
        with run.locked(), masked(run.log) as output:
            output.write(b"words\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(run.log.stat().st_mode) == 0o600
    # Where runs of several users lie next to each other, as in a container, the parent stays as it is.
    assert stat.S_IMODE(run.folder.parent.stat().st_mode) == 0o777
