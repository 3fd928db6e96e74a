"""Measure the time of `tunebook fork`, including its check, on generated rows.

    .venv/bin/python benchmarks/fork_time.py [CASE ...]     # writes benchmarks/results/fork_time.json

`passages` has 1,400 questions on 98 passages of 30,000 characters, `chats` 5,000 support chats of similar
wording (both from tests/support/); `rows14k` and `rows100k` have sentences with a label, from
benchmarks/check_rows.py. The cache contains only the trial model. Processor seconds are user and system time
of the process and all its children; on a busy machine they say more than the time that passed. `again` is
`tunebook check` after the fork. Python's bytecode is cached, as in check_rows.py.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.support

from benchmarks.check_rows import DATASET, write_split
from tests.support import long_passages, similar_chats
from tunebook.core.files import read_json, write_json, write_jsonl
from tunebook.core.paths import ROOT, child_environment
from tunebook.data.dataset import load_dataset_config
from tunebook.hardware import machine
from tunebook.models import trial_model

TARGET = ROOT / "benchmarks" / "results" / "fork_time.json"


class Case(NamedTuple):
    """The file to fork, the recipe, the options, and the target in processor seconds."""

    origin: str
    file: str
    write: Callable[[Path], object]
    options: tuple[str, ...] = ()
    target: int | None = None


def labelled(count: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_split(path, "train", count, load_dataset_config(DATASET).labels)

    return write


CASES = {
    "passages": Case("qa-lora", "passages.json", long_passages.write, target=60),
    "rows14k": Case("classify-lora", "rows.jsonl", labelled(14_000), ("--group", "customer"), target=20),
    "rows100k": Case("classify-lora", "rows.jsonl", labelled(100_000), ("--group", "customer"), target=60),
    "chats": Case("chat-lora", "chats.jsonl", lambda path: write_jsonl(path, similar_chats.rows(5000))),
}


def measure(name: str) -> dict[str, object]:
    """Fork and check one case, check it again, and return the times."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        case.write(home / case.file)
        for kind in ("recipes", "datasets"):
            (home / kind).mkdir()
            for folder in (ROOT / kind).iterdir():
                (home / kind / folder.name).symlink_to(folder)
        kept = trial_model.ensure().parent
        (home / "cache").mkdir()
        (home / "cache" / kept.name).symlink_to(kept)
        told = {f"TUNEBOOK_{kind.upper()}": str(home / kind) for kind in ("recipes", "datasets", "cache")}
        fork = ["fork", case.origin, "mine", str(home / case.file), *case.options]
        seconds, processor, text = timed(fork, told)
        again, processor_again, _ = timed(["check", "mine"], told)
    print(text[-3000:])
    return {
        "case": name,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "target_processor_seconds": case.target,
        "again_seconds": round(again, 1),
        "again_processor_seconds": round(processor_again, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
    }


def timed(words: list[str], told: dict[str, str]) -> tuple[float, float, str]:
    """Run one command; return seconds passed, processor seconds, and its output.

    Raises:
        RuntimeError: it neither succeeded nor found errors in the rows.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "tunebook.commands.cli", *words],
        cwd=ROOT,
        env=child_environment() | {"COLUMNS": "200"} | told,
        capture_output=True,
        text=True,
    )
    seconds, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode not in (0, 2):
        raise RuntimeError(result.stderr[-2000:])
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, result.stdout + result.stderr


def main(argv: list[str] | None = None) -> int:
    names = (argv or sys.argv[1:]) or list(CASES)
    for name in names:
        runs = {run["case"]: run for run in read_json(TARGET, {"runs": []})["runs"]} | {name: measure(name)}
        facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib")}
        facts["load"] = round(os.getloadavg()[0], 1)
        write_json(TARGET, {"machine": facts, "runs": [runs[each] for each in CASES if each in runs]})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
