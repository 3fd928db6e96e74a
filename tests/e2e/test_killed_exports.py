"""`kill -9` at many moments of what follows the report: nothing half-made is taken for whole, no child lives
on, and the same command finishes with the same files. And a disk that is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import hub_server, tiny_run
from tests.support.hub_server import Hub
from tunebook.core.files import file_sha256, read_json
from tunebook.core.paths import ROOT, child_environment
from tunebook.models import llama_cpp
from tunebook.runs.run import Run

MOMENTS = 8
BUILT = llama_cpp.folder().is_dir()
needs_llama = pytest.mark.skipif(not BUILT, reason="llama.cpp is not built: make export TO=gguf builds it")
# What may never be half there under its own name: a folder by what it holds, a file by its bytes.
MADE = ("merged", "export/gguf/*.gguf", "export/ollama/Modelfile", "export/openllm/bentoml/bentos/*/*")

DATED = ("bento.yaml", "tunebook.json")  # hold the time, or the memory that it took


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run.lora_run(tmp_path_factory.mktemp("shipped"))


def started(run: Run, words: list[str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunebook.commands.cli", words[0], str(run.folder), *words[1:]],
        cwd=ROOT,
        env=child_environment() | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(run: Run, words: list[str], **variables: str) -> tuple[int, str]:
    child = started(run, words, **variables)
    output = child.communicate(timeout=1200)[0]
    return child.returncode, output


def copied(run: Run, folder: Path) -> Run:
    """A copy under the same name, since the Modelfile holds it."""
    return Run(Path(shutil.copytree(run.folder, folder / run.folder.name)))


def content(run: Run) -> dict[str, dict[str, str]]:
    """Return, for each of MADE that is there, the hash of each of its files."""
    found: dict[str, dict[str, str]] = {}
    for pattern in MADE:
        for path in run.folder.glob(pattern):
            files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
            found[str(path.relative_to(run.folder))] = {
                str(one.relative_to(run.folder)): "" if one.name in DATED else file_sha256(one)
                for one in files
            }
    return found


def kill(child: subprocess.Popen[str]) -> None:
    """Kill the command alone, and see that all processes it had started end with it."""
    below = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.communicate()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive, alive


def nothing() -> None:
    pass


def drill(
    made: Run,
    tmp_path: Path,
    words: list[str],
    before: Callable[[], None] = nothing,
    look: Callable[[], None] = nothing,
    **variables: str,
) -> Run:
    """Run `words` undisturbed; then, at each moment of the time that it took, kill it and run it again.
    `before` is called before each try, `look` after each kill. Returns the undisturbed run."""
    whole = copied(made, tmp_path / "whole")
    start = time.monotonic()
    code, output = ended(whole, words, **variables)
    took = time.monotonic() - start
    assert code in (0, 3), output  # 3: the random adapter may lose by being quantised
    expected, killed = content(whole), 0
    for moment in range(MOMENTS):
        before()
        run = copied(made, tmp_path / str(moment))
        child = started(run, words, **variables)
        try:
            child.wait(took * (moment + 0.5) / MOMENTS)
        except subprocess.TimeoutExpired:
            kill(child)
            killed += 1
        left = content(run)
        assert {name: expected[name] for name in left} == left, f"half-made at moment {moment}"
        look()
        again, output = ended(run, words, **variables)
        assert again == code, f"moment {moment}: {output}"
        assert content(run) == expected, f"moment {moment}: other files"
        assert not [path for path in run.folder.rglob("*.partial") if path.suffix == ".partial"]
        shutil.rmtree(run.folder)
    assert killed >= MOMENTS - 2, "the machine was much faster than the first time"
    return whole


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["merge"], id="merge"),
        pytest.param(["export", "--to", "safetensors"], id="safetensors"),
        pytest.param(["export", "--to", "gguf", "--quant", "q8_0,q4_0,lora"], id="gguf", marks=needs_llama),
        pytest.param(["export", "--to", "ollama"], id="ollama", marks=needs_llama),
        pytest.param(["export", "--to", "openllm", "--no-measure"], id="openllm", marks=needs_llama),
    ],
)
def test_kill_in_an_export(made: Run, tmp_path: Path, words: list[str]) -> None:
    whole = drill(made, tmp_path, words)
    assert "merged" in content(whole)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serving() as one:
        yield one


@pytest.mark.long
def test_kill_in_an_upload(made: Run, tmp_path: Path, hub: Hub) -> None:
    """Nobody sees anything before all of it is there; what arrived is not sent again."""
    hub.delay = 0.3
    for number in range(6):
        (made / "model" / f"model-{number}.safetensors").write_bytes(bytes([number]) * 1000)
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token, "HF_HUB_OFFLINE": "0"}
    words = ["publish", "--repo", "me/mine", "--licence", "mit", "--send"]
    expected: dict[str, bytes] = {}

    def before() -> None:
        """Look at what the last try sent, and forget it."""
        assert len(hub.uploads) == len(set(hub.uploads)), "what arrived was sent again"
        expected.update(expected or hub.repos["me/mine"])
        assert hub.repos["me/mine"] == expected
        for holds in (hub.repos, hub.stored, hub.uploads):
            holds.clear()  # type: ignore[attr-defined]

    def look() -> None:
        assert hub.repos.get("me/mine", {}) in ({}, expected)

    try:
        drill(made, tmp_path, words, before, look, **variables)
        before()
        assert len(expected) > 6
    finally:
        for number in range(6):
            (made / "model" / f"model-{number}.safetensors").unlink()


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["serve", "--port", "0"], id="transformers"),
        pytest.param(["serve", "--port", "0", "--engine", "llamacpp"], id="llamacpp", marks=needs_llama),
    ],
)
def test_a_killed_server_leaves_no_child(made: Run, tmp_path: Path, words: list[str]) -> None:
    child = started(copied(made, tmp_path), words)
    assert child.stdout
    for line in child.stdout:
        if "/v1, model" in line:
            break
    assert psutil.Process(child.pid).children(), "the server is a child"
    kill(child)


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small disk")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["merge"], id="merge"),
        pytest.param(["export", "--to", "gguf", "--quant", "q8_0"], id="gguf", marks=needs_llama),
    ],
)
def test_a_full_disk_is_said_and_loses_nothing(made: Run, tmp_path: Path, words: list[str]) -> None:
    """On a file system with 2 MB left, which is then made larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if subprocess.run([*mount, "size=200m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no mount in this container")
    try:
        run = copied(made, disk)
        if words[0] == "export":
            assert ended(run, ["merge", "--no-measure"])[0] == 0
        used = shutil.disk_usage(disk).used
        subprocess.run(["mount", "-o", f"remount,size={used + 2_000_000}", str(disk)], check=True)
        before = {path: file_sha256(path) for path in run.folder.rglob("*") if path.is_file()}
        code, output = ended(run, words)
        assert code == 4 and "[machine.no_space]" in output, output
        said = [line for line in output.splitlines() if "no space is left" in line]
        assert len(said) == 1 and str(disk) in said[0]
        grew = ("log.txt", "events.jsonl")
        assert {path: file_sha256(path) for path in before if path.name not in grew}.items() <= before.items()
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        code, output = ended(run, words)
        assert code in (0, 3), output
        assert read_json(run / "merged" / "tunebook.json") and not list(run.folder.rglob("*.partial"))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
