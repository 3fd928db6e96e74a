"""The store on a real S3 protocol server (moto, on loopback)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.test_store import at_work, checkpoint, files, machine, silent
from tunebook.commands import fetch
from tunebook.core.console import Console
from tunebook.core.errors import InputError, MachineError
from tunebook.runs import storage
from tunebook.runs.store import Store


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import s3fs

    monkeypatch.setattr(storage, "PAUSES", (0.0,))
    for name, value in (("ENDPOINT_URL", server), ("ACCESS_KEY_ID", "me"), ("SECRET_ACCESS_KEY", "me-too")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    place = s3fs.S3FileSystem()
    if place.exists("runs"):
        place.rm("runs", recursive=True)
    place.mkdir("runs")
    yield "s3://runs/below"
    # Sockets left to the garbage collector would fail a test that runs later.
    for made in s3fs.S3FileSystem._cache.values():
        if made._s3 is not None:
            s3fs.S3FileSystem.close_session(made.loop, made._s3)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_a_run_goes_through_a_bucket(bucket: str, tmp_path: Path) -> None:
    run = at_work(machine(tmp_path))
    (run / "model").mkdir()
    (run / "model" / "model.safetensors").write_bytes(bytes(9_000_000))  # larger than one piece
    store = Store(bucket, run)
    store.save()
    checkpoint(run, 10)
    for _ in range(3):
        store.save()
    assert store.numbers() == [3, 4]
    there = machine(tmp_path, "there")
    state = Store(bucket, there).fetch(silent)
    assert state and state["step"] == 10
    assert files(there) == files(run)


@pytest.mark.slow
def test_results_are_fetched_by_name_or_as_the_latest(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(bucket, at_work(machine(tmp_path))).save()
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "home"))
    assert fetch.fetch("some-recipe/latest", bucket, Console()) == 0
    home = tmp_path / "home" / "some-recipe" / "latest"
    assert (home / "events.jsonl").is_file() and not (home / "train").exists()
    assert "progress" in capsys.readouterr().out
    with pytest.raises(InputError, match="Available: some-recipe/abc"):
        fetch.fetch("some-recipe/xyz", bucket, Console())


@pytest.mark.slow
def test_a_bucket_that_is_not_there(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="^STORE: .*does not exist.*Create the bucket first"):
        Store("s3://no-such-bucket-here/x", at_work(machine(tmp_path))).save()
