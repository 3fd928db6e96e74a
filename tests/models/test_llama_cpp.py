"""The build of llama.cpp: resumed where it was interrupted, anew where it failed. Nothing is compiled."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tunebook.core.files import file_sha256
from tunebook.models import llama_cpp

FILES = (
    *(f"vendor/llama.cpp/{name}" for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "LICENSE")),
    *("vendor/llama.cpp/conversion/base.py", "vendor/llama.cpp/gguf-py/a.py", "llama_cpp/llama_cpp.py"),
)


class Tools:
    """Stands in for pip and cmake; `ends` is what the next compilation raises."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.calls = archive, list[str]()
        self.ends: BaseException | None = None

    def pip(self, scratch: Path, package: tuple[str, str], words: list[str]) -> None:
        self.calls.append(words[0])
        if words[0] == "download":
            (scratch / self.archive.name).write_bytes(self.archive.read_bytes())

    def run(self, command: list[str]) -> None:
        self.calls.append(command[1])
        if command[1] == "--build":
            made = Path(command[2])
            (made / "bin").mkdir(parents=True, exist_ok=True)
            (made / "bin" / "llama-server").write_text("compiled")
            if self.ends:
                raise self.ends


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    name = f"llama_cpp_python-{llama_cpp.VERSION}"
    archive = tmp_path / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in FILES:
            tar.addfile(tarfile.TarInfo(f"{name}/{path}"), io.BytesIO())
    found = Tools(archive)
    monkeypatch.setattr(llama_cpp, "SOURCE", (name, file_sha256(archive)))
    monkeypatch.setattr(llama_cpp, "pip", found.pip)
    monkeypatch.setattr(llama_cpp, "run", found.run)
    return found


def test_an_interrupted_build_resumes_without_a_download(tools: Tools, tmp_path: Path) -> None:
    target, scratch = tmp_path / "made", tmp_path / f"{llama_cpp.folder().name}.build"
    tools.ends = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        llama_cpp.build(target)
    assert not target.exists()
    assert (scratch / "build" / "bin" / "llama-server").is_file()
    tools.ends = None
    llama_cpp.build(target)
    assert tools.calls == ["download", "-S", "--build", "-S", "--build", "install"]
    assert (target / "bin" / "llama-server").read_text() == "compiled"
    assert (target / "conversion" / "base.py").is_file() and (target / "LICENSE").is_file()
    assert not scratch.exists()


def test_a_half_download_is_not_taken_for_whole(tools: Tools, tmp_path: Path) -> None:
    scratch = tmp_path / f"{llama_cpp.folder().name}.build"
    scratch.mkdir()
    (scratch / tools.archive.name).write_bytes(tools.archive.read_bytes()[:50])
    llama_cpp.build(tmp_path / "made")
    assert tools.calls[0] == "download"


def test_a_build_that_failed_begins_anew(tools: Tools, tmp_path: Path) -> None:
    tools.ends = SystemExit("a compiler error")
    with pytest.raises(SystemExit):
        llama_cpp.build(tmp_path / "made")
    assert not (tmp_path / f"{llama_cpp.folder().name}.build").exists()


def test_progress_is_read_from_the_lines_of_cmake() -> None:
    begun, steps = [], []
    percent = llama_cpp.Percent(lambda: begun.append(1) or (lambda: steps.append(1)))  # type: ignore[func-returns-value]
    percent("-- Configuring done")
    assert not begun
    for line, done in (
        ("[  3%] Building", 3),
        ("[ 50%] Linking", 50),
        ("[ 48%] x", 50),
        ("[100%] Built", 100),
    ):
        percent(line)
        assert len(steps) == done
    assert len(begun) == 1


@pytest.mark.parametrize("field", ["flags\t\t", "Features\t"])
def test_each_kind_of_processor_has_a_build_of_its_own(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler uses all that the processor can; on one that can less, the program would crash."""
    monkeypatch.setattr(llama_cpp, "CPU", tmp_path / "cpuinfo")

    def on(able: str, speed: int = 2000) -> Path:
        text = f"model name\t: X\n{field}: {able}\ncpu MHz\t: {speed}\n"
        llama_cpp.CPU.write_text(f"{text}\n{text}")
        return llama_cpp.folder()

    assert on("sse4_2 avx2") == on("sse4_2 avx2", 3000) != on("sse4_2 avx2 avx512f")
    llama_cpp.CPU.unlink()
    assert llama_cpp.VERSION in llama_cpp.folder().name
