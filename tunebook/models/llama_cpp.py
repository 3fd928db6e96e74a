"""llama.cpp: its converter, tools and library, from a Python package, built once into the cache folder.

The source distribution of llama-cpp-python carries the whole of llama.cpp. It is built with cmake and a C++
compiler; the ctypes bindings of the package are used as they are. Nothing of it enters Tunebook's own
environment: the converter runs with the torch and transformers that are there and llama.cpp's own `gguf`.

    python -m tunebook.models.llama_cpp FOLDER     # the build itself, in a process of its own
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tunebook.core.console import Console
from tunebook.core.errors import MachineError, Problem
from tunebook.core.paths import cache_folder, show
from tunebook.core.process import ChildError, write_folder

VERSION = "0.3.36"
SOURCE = (f"llama-cpp-python=={VERSION}", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
# What the bindings import besides numpy and jinja2.
WITH = ("diskcache==5.6.3", "5e31b2d5fbad117cc363ebaf6b689474db18a1f6438bc82358b024abd4c2ca19")
TOOLS = ("llama-server", "llama-quantize")
CONVERTER = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion", "gguf-py", "LICENSE")
NEED_BYTES = 1_500_000_000
# No web page inside the server (it would be fetched), and libraries beside the tools, wherever the folder is.
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
)


def folder() -> Path:
    """Return where llama.cpp lies, or will lie: `bin/`, `python/` and the converter."""
    return cache_folder() / f"llama.cpp-{VERSION}"


def tool(name: str) -> Path:
    """Return one of TOOLS or CONVERTER."""
    return folder() / "bin" / name if name in TOOLS else folder() / name


def ensure(console: Console) -> Path:
    """Return the folder of llama.cpp, built where it is missing (about ten minutes on two cores).

    Raises:
        MachineError: no cmake, no compiler, no disk space, no package index, or the build failed.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_dir():
            return target
        missing = [name for name in ("cmake", "g++") if not shutil.which(name)]
        if missing:
            raise MachineError(
                f"llama.cpp is built from source, which needs {' and '.join(missing)}. On Debian and Ubuntu: "
                "apt install cmake g++. On macOS: brew install cmake.",
                code="machine.no_compiler",
            )
        if shutil.disk_usage(target.parent).free < NEED_BYTES:
            text = "less than 1.5 GB free; building llama.cpp needs that."
            raise MachineError(Problem(text, str(target.parent), code="machine.disk_full"))
        log = target.with_name(f"{target.name}.log")
        console.note(f"building llama.cpp once, about ten minutes on two cores; its log: {show(log)}")
        try:
            write_folder("tunebook.models.llama_cpp", [], target, log)
        except ChildError as error:
            raise MachineError(
                f"llama.cpp could not be built: {error}\nThe log: {show(log)}", code="machine.build_failed"
            ) from error
    return target


def build(target: Path) -> None:
    """Build llama.cpp into `target`. Output of the tools goes to standard output."""
    with tempfile.TemporaryDirectory(dir=target.parent) as text:
        scratch = Path(text)
        pip(scratch, SOURCE, ["download", "--no-binary", ":all:", "--dest", str(scratch)])
        shutil.unpack_archive(next(scratch.glob("*.tar.gz")), scratch, filter="data")
        unpacked = next(scratch.glob("llama_cpp_python-*/"))
        vendored, made = unpacked / "vendor" / "llama.cpp", scratch / "build"
        run(["cmake", "-S", str(vendored), "-B", str(made), *OPTIONS])
        run(["cmake", "--build", str(made), "--parallel", str(os.cpu_count() or 1), "--target", *TOOLS])
        shutil.copytree(made / "bin", target / "bin", symlinks=True)
        shutil.copytree(unpacked / "llama_cpp", target / "python" / "llama_cpp")
        pip(scratch, WITH, ["install", "--target", str(target / "python")])
        for name in CONVERTER:
            source = vendored / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target / name)


def pip(scratch: Path, package: tuple[str, str], words: list[str]) -> None:
    """Run pip with `words` on one package of a known hash."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{package[0]} --hash=sha256:{package[1]}\n")
    run([sys.executable, "-m", "pip", *words, "--no-deps", "--require-hashes", "-r", str(requirement)])


def run(command: list[str]) -> None:
    """Run a command of the build; SystemExit with its last lines where it fails."""
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        lines = ended.stderr.strip().splitlines() or [""]
        raise SystemExit(f"{' '.join(command[:2])} failed: {lines[-1]}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
