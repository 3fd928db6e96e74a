"""A model repository of OpenLLM: its files, and OpenLLM's own command that lists and serves it."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tunebook.core.console import Console
from tunebook.core.files import read_json
from tunebook.core.paths import ROOT, cache_folder
from tunebook.export import gguf, openllm
from tunebook.models import llama_cpp, trial_model
from tunebook.runs.run import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose llama.cpp and GGUF file are a few bytes."""
    monkeypatch.setattr(Run, "settings", lambda self: {"recipe": "mine"})
    home = tmp_path / "llama.cpp"
    (home / "bin").mkdir(parents=True)
    for name in ("llama-server", "llama-quantize", "libllama.so.0"):
        (home / "bin" / name).write_text(name)
    (home / "bin" / "libllama.so").symlink_to("libllama.so.0")
    (home / "LICENSE").write_text("MIT")
    monkeypatch.setattr(llama_cpp, "folder", lambda: home)
    (tmp_path / "mine-q8_0.gguf").write_bytes(b"gguf")
    return Run(tmp_path / "run")


def test_the_repository_holds_all_that_the_server_needs(run: Run, tmp_path: Path) -> None:
    folder = openllm.write(run, tmp_path / "mine-q8_0.gguf", "q8_0") / "bentoml" / "bentos" / "mine" / "q8_0"
    names = sorted(path.name for path in (folder / "src" / "bin").iterdir())
    assert names == ["LICENSE", "libllama.so", "libllama.so.0", "llama-server"]
    assert (folder / "src" / "bin" / "libllama.so").is_symlink()
    assert (folder / "src" / "model.gguf").read_bytes() == b"gguf"
    ast.parse((folder / "src" / "service.py").read_text())
    bento = read_json(folder / "bento.yaml")
    assert (bento["name"], bento["version"]) == ("mine", "q8_0")
    assert {"name": "BENTOML_HOST", "value": "127.0.0.1"} in bento["envs"]


def test_an_interrupted_one_is_not_listed_and_made_again(run: Run, tmp_path: Path) -> None:
    half = openllm.path_of(run, "q8_0").parents[2] / "mine-q8_0.partial"
    half.mkdir(parents=True)
    (half / "bento.yaml").write_text("half")
    assert not list((run / "export" / "openllm").glob("bentoml/bentos/*/*"))
    repository = openllm.write(run, tmp_path / "mine-q8_0.gguf", "q8_0")
    openllm.write(run, tmp_path / "mine-q8_0.gguf", "q8_0")
    assert [path.name for path in repository.glob("bentoml/bentos/*/*")] == ["q8_0"]
    assert not half.exists()


def test_the_page_installs_what_was_tried() -> None:
    page = (ROOT / "docs" / "after-training.md").read_text()
    assert set(openllm.ENVIRONMENT) <= set(re.findall(r"[\w.]+(?:==|<)[\d.]+", page))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(not llama_cpp.folder().is_dir(), reason="llama.cpp is not built: make export TO=gguf")
def test_openllm_lists_serves_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenLLM 0.6.30 in an environment of its own in the cache folder; the model is the trial base."""
    monkeypatch.setattr(Run, "settings", lambda self: {"recipe": "mine"})
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    file = gguf.convert(run, trial_model.ensure(), "q8_0", Console())
    repository = openllm.write(run, file, "q8_0")
    home = cache_folder() / "openllm-0.6.30"
    uv = [str(Path(sys.executable).with_name("uv"))]
    if not (home / "bin" / "openllm").is_file():
        subprocess.run([*uv, "venv", "--quiet", str(home)], check=True)
    python = str(home / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *openllm.ENVIRONMENT], check=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {
        **os.environ,
        "OPENLLM_TEST_REPO": str(repository),
        "OPENLLM_HOME": str(home / "models"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    words = [str(home / "bin" / "openllm")]
    listed = subprocess.run([*words, "model", "list"], env=environment, capture_output=True, text=True)
    assert "mine:q8_0" in listed.stdout, listed.stderr
    log = tmp_path / "log.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [*words, "serve", "mine", "--port", str(port)],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        answer = asked(f"http://127.0.0.1:{port}/v1/chat/completions", child, log)
        assert "Paris" in answer
    finally:
        os.killpg(child.pid, signal.SIGINT)
        child.wait(60)


def asked(address: str, child: subprocess.Popen[bytes], log: Path) -> str:
    """Return the answer of the server once it is there."""
    body = {"model": "mine", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    while child.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return str(json.load(response)["choices"][0]["message"]["content"])
        except OSError:
            time.sleep(2)
    raise AssertionError(log.read_text()[-3000:])
