"""Whether this CPU is faster in bf16 than in fp32, measured once for each kind of CPU.

A cache may be used on other machines than the one that filled it: an image, a home on a file server, the
volume of a rented machine. Without instructions for bf16, a step in it takes twenty times as long as in fp32.

    python -m tunebook.hardware.cpu_speed FILE     # the measurement itself, in a process that imports torch
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

from tunebook.core.errors import MachineError
from tunebook.core.files import digest, read_json, write_json
from tunebook.core.paths import ROOT, cache_folder, child_environment
from tunebook.core.process import run_command
from tunebook.models.llama_cpp import processor

BF16_WORTH_IT = 1.1
# What torch and oneDNN choose their kernels by.
CHOICES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE")
REPEATS, SECONDS = 20, 1.0  # of each measurement, whichever ends first


def name() -> str:
    """Return the name of the CPU: `AMD EPYC`."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def has_fast_bf16() -> bool:
    """Return whether bf16 is faster than fp32 on this CPU. The first call on a kind of CPU takes seconds.

    Raises:
        MachineError: the measurement failed.
    """
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            speed = _measured(file)
    except OSError:  # a cache that cannot be written, in which nobody with this CPU has measured
        with tempfile.TemporaryDirectory() as scratch:
            speed = _measured(Path(scratch) / file.name)
    return speed > BF16_WORTH_IT


def is_known_fast_bf16() -> bool:
    """Return what `has_fast_bf16` does, but False if this kind of CPU has not been measured yet."""
    found = read_json(_file())
    return bool(found) and float(found["bf16_speedup"]) > BF16_WORTH_IT


def _file() -> Path:
    """Return where the measurement of this kind of CPU is kept."""
    kind = [name(), processor(), importlib.metadata.version("torch"), *map(os.environ.get, CHOICES)]
    return cache_folder() / "cpu" / f"{digest(kind)[:16]}.json"


def _measured(file: Path) -> float:
    """Return the speed in `file`, after measuring it in another process if there is none."""
    if (found := read_json(file)) is None:
        words = [sys.executable, "-m", "tunebook.hardware.cpu_speed", str(file)]
        ended = run_command(words, cwd=ROOT, env=child_environment(), capture_output=True, text=True)
        if (found := read_json(file)) is None:
            text = f"The speed of this CPU could not be measured: {ended.stderr.strip()[-500:]}"
            raise MachineError(text, code="machine.not_measured")
    return float(found["bf16_speedup"])


def measure_bf16() -> float:
    """Return how many times faster a bf16 matrix product (512 x 576 x 1536) is than an fp32 one on this
    CPU."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        a, b = torch.randn(512, 576, dtype=dtype), torch.randn(576, 1536, dtype=dtype)
        best, end = float("inf"), time.perf_counter() + SECONDS
        for _ in range(REPEATS):
            start = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - start)
            if time.perf_counter() > end:
                break
        return best

    return round(seconds(torch.float32) / seconds(torch.bfloat16), 2)


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), {"cpu": name(), "bf16_speedup": measure_bf16()})
