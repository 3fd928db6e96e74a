"""llama.cpp: its converter, tools and library, built once into the cache folder from a Python package.

The source distribution of llama-cpp-python contains all of llama.cpp. It is built with cmake and a C++
compiler; the package's ctypes bindings are used unchanged. Nothing is installed into Tunebook's own
environment: the converter runs with the installed torch and transformers and with llama.cpp's own `gguf`.

    python -m tunebook.models.llama_cpp FOLDER     # the build itself, in a separate process
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tunebook.core.console import Console
from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import SEAL, damage, digest, file_sha256, seal
from tunebook.core.paths import cache_folder, show
from tunebook.core.process import ChildError, describe, run_command, together, write_folder

VERSION = "0.3.36"
SOURCE = (f"llama-cpp-python=={VERSION}", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
# Packages that the bindings import, in addition to numpy and jinja2.
WITH = ("diskcache==5.6.3", "5e31b2d5fbad117cc363ebaf6b689474db18a1f6438bc82358b024abd4c2ca19")
VENDORED = "vendor/llama.cpp"  # path in the source distribution
TOOLS = ("llama-server", "llama-quantize")
CONVERTER = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion", "gguf-py", "LICENSE")
# Greedy decoding with the file's own template and all positions; no other web page may read its answers.
SERVER_OPTIONS = tuple("--jinja --ctx-size 0 --temp 0 --cors-origins localhost --no-cors-credentials".split())
CPU = Path("/proc/cpuinfo")
NEED_BYTES = 1_500_000_000
# Without the server's web page (the build would download it), and with relative library paths, so that the
# folder can be moved.
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
    """Return the folder of llama.cpp, which may not be built yet: `bin/`, `python/` and the converter.

    A build for this machine's processor would crash on an older one, so a cache folder shared by several
    machines has a build for each kind of processor.
    """
    return cache_folder() / f"llama.cpp-{VERSION}-{processor()}"


def processor() -> str:
    """Return the architecture of this machine and a hash of the processor features listed by Linux."""
    names = ("flags", "Features")  # x86, ARM
    able = []
    with suppress(OSError):
        able = [line for line in CPU.read_text().splitlines() if line.partition("\t")[0].strip() in names][:1]
    return f"{platform.machine()}-{digest(able)[:8]}"


def tool(name: str) -> Path:
    """Return the path of one of TOOLS or of CONVERTER."""
    return folder() / "bin" / name if name in TOOLS else folder() / name


def ensure(console: Console) -> Path:
    """Return the folder of llama.cpp, building it if it is missing (about ten minutes on two cores).

    Raises:
        MachineError: cmake, a compiler, disk space or the package index is missing, or the build failed.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{target}.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        console.note(f"another command is building llama.cpp in {show(target.parent)}; waiting for it")
        held = lock.acquire()
    with held:
        if target.is_dir() and not (target / SEAL).exists():
            seal(target)  # of a version without lists of files
        wrong = damage(target)
        if wrong is None:
            return target
        if target.is_dir():
            console.note(f"{show(target)} is damaged ({wrong}); it is built again")
        missing = [name for name in ("cmake", "g++") if not shutil.which(name)]
        if missing:
            raise MachineError(
                f"llama.cpp is built from source, which needs {' and '.join(missing)}. On Debian and Ubuntu: "
                "apt install cmake g++. On macOS: brew install cmake.",
                code="machine.no_compiler",
            )
        if shutil.disk_usage(target.parent).free < NEED_BYTES:
            text = "less than 1.5 GB free; building llama.cpp needs that much."
            raise MachineError(Problem(text, str(target.parent), code="machine.disk_full"))
        log = target.with_name(f"{target.name}.log")
        console.note("building llama.cpp, once only (about ten minutes on two cores)")
        console.note(f"log: {show(log)}")
        try:
            with ExitStack() as stack:
                bar = console.counting("percent of llama.cpp built", 100)
                heard = Percent(lambda: stack.enter_context(bar))
                write_folder("tunebook.models.llama_cpp", [], target, log, heard, sealed=True)
                heard("[100%] also where the last line of cmake says less")
        except ChildError as error:
            raise MachineError(
                f"llama.cpp could not be built: {error}\nLog: {show(log)}", code="machine.build_failed"
            ) from error
    return target


class Percent:
    """Calls the function that `begin` returns once for each percent reported by cmake ("[ 12%] Building
    ..."). Counting starts at the first such line: the download and what was built earlier would distort the
    time left."""

    def __init__(self, begin: Callable[[], Callable[[], None]]) -> None:
        self.begin, self.done = begin, 0
        self.step: Callable[[], None] | None = None

    def __call__(self, line: str) -> None:
        found = re.match(r"\[ *(\d+)%\]", line)
        if not found:
            return
        self.step = self.step or self.begin()
        for _ in range(self.done, int(found[1])):
            self.step()
            self.done += 1


def build(target: Path) -> None:
    """Build llama.cpp into `target`. An interrupted build resumes. A failed build starts over, because files
    that a crash of the machine left half-written would make it fail again. The tools print to standard
    output.
    """
    scratch = target.with_name(f"{folder().name}.build")
    scratch.mkdir(exist_ok=True)
    with (scratch / "lock").open("w") as lock:
        # Compilers inherit the lock, so those of a killed command end before this one starts its own.
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            made, unpacked = compiled(scratch)
        except SystemExit:
            shutil.rmtree(scratch)
            raise
    shutil.copytree(made / "bin", target / "bin", symlinks=True)
    shutil.copytree(unpacked / "llama_cpp", target / "python" / "llama_cpp")
    pip(scratch, WITH, ["install", "--target", str(target / "python")])
    for name in CONVERTER:
        source = unpacked / VENDORED / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target / name)
    shutil.rmtree(scratch)


def compiled(scratch: Path) -> tuple[Path, Path]:
    """Download and compile in `scratch`; return the build folder and the source folder."""
    archive = scratch / f"llama_cpp_python-{VERSION}.tar.gz"
    if not archive.is_file() or file_sha256(archive) != SOURCE[1]:
        # Not `:all:`, by which pip would also build the build tools of the package from source.
        pip(scratch, SOURCE, ["download", "--no-binary", "llama-cpp-python", "--dest", str(scratch)])
    # Files keep the times of the archive, so that what is compiled already stays so.
    shutil.unpack_archive(archive, scratch, filter="data")
    unpacked, made = next(scratch.glob("llama_cpp_python-*/")), scratch / "build"
    run(["cmake", "-S", str(unpacked / VENDORED), "-B", str(made), *OPTIONS])
    run(["cmake", "--build", str(made), "--parallel", str(os.cpu_count() or 1), "--target", *TOOLS])
    return made, unpacked


def pip(scratch: Path, package: tuple[str, str], words: list[str]) -> None:
    """Run pip with `words` on one package of a known hash."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{package[0]} --hash=sha256:{package[1]}\n")
    run([sys.executable, "-m", "pip", *words, "--no-deps", "--require-hashes", "-r", str(requirement)])


def run(command: list[str]) -> None:
    """Run a command of the build; raise SystemExit with its last output line if it fails."""
    ended = run_command(
        together(command), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, close_fds=False
    )
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        lines = ended.stderr.strip().splitlines() or [describe(ended.returncode)]
        raise SystemExit(f"{' '.join(command[:3])}: {lines[-1]}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
