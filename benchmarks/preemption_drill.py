"""Interrupt one run again and again, wiping its disk, and compare it with an undisturbed run.

A tiny random model trains on the CPU through the real `tunebook recipe`. A supervisor sends SIGTERM ten times
and kill -9 five times, in random order at random moments, and removes the whole runs folder each time; only
the store is left, an S3 server on loopback (moto). The two runs must end with the same metrics, and no step
may be trained twice after SIGTERM.

    .venv/bin/python benchmarks/preemption_drill.py
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil

from tunebook.core.files import file_sha256, read_json, read_records
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import fill
from tunebook.runs.run import Run

TARGET = ROOT / "benchmarks" / "results" / "preemption_drill.json"
DOC = ROOT / "docs" / "rented-gpus.md"
SAVE_STEPS = 5
COMPARED = ("contenders", "comparisons", "dev", "baseline", "verdict", "steps", "trained_tokens")


class Drill:
    """One recipe run in `folder`, restarted until it is finished."""

    def __init__(self, folder: Path, base: Path, steps: int, prefix: list[str]) -> None:
        self.runs, self.base, self.steps, self.prefix = folder / "runs", base, steps, prefix

    def changes(self) -> str:
        """Return the value of SET=: the tiny model, all of its layers, a checkpoint every few steps."""
        changes = f"base_model={self.base} peft_layers_to_transform=null learning_rate=0.02"
        return f"{changes} evals_per_epoch=null saves_per_epoch=null save_steps={SAVE_STEPS} warmup_ratio=0"

    def words(self, store: str | None) -> list[str]:
        words = ["recipe", "classify-lora", "--tier", "trial", "--hardware", "cpu", "--eval", "quick"]
        words += ["--steps", str(self.steps), "--set", self.changes()]
        return words + (["--store", store] if store else [])

    def start(self, store: str | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "tunebook.commands.cli", *self.words(store)],
            cwd=ROOT,
            env={**os.environ, "TUNEBOOK_RUNS": str(self.runs)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def folder(self) -> Path:
        return self.runs / "classify-lora" / "latest"

    def trained(self) -> list[int]:
        """Return the trained steps of this run in the order of its events; after a resume, numbers may
        repeat."""
        events = read_records(self.folder / "events.jsonl")
        return [e["done"] for e in events if e["stage"] == "train" and not {"saved", "loss"} & set(e)]


def equal(*drills: Drill) -> dict[str, bool]:
    """Return whether two runs are equal: in each field of metrics.json, and in the bytes of the weights."""
    one, other = (read_json(drill.folder / "metrics.json") for drill in drills)
    weights = {file_sha256(drill.folder / "model" / "adapter_model.safetensors") for drill in drills}
    return {key: one[key] == other[key] for key in COMPARED} | {"weights": len(weights) == 1}


def serve_s3(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start moto's S3 server on a free port of loopback, put its address into the environment, and return it
    with the URL of an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "drill",
        "AWS_SECRET_ACCESS_KEY": "drill",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.2)
    import fsspec

    fsspec.filesystem("s3").mkdir("drill")
    return server, "s3://drill/runs"


def interrupt(drill: Drill, store: str, kind: str, wait: float) -> dict[str, Any]:
    """Start the run, send `kind` `wait` seconds after its training has resumed, and wipe the disk.

    `from_step` is None if the run was already evaluating, or had not started to train.
    """
    process = drill.start(store)
    while process.poll() is None and not (drill.folder / "sessions.json").is_file():
        time.sleep(0.1)
    before = len(drill.trained())  # as fetched from the store
    deadline = time.monotonic() + 600
    while process.poll() is None and len(drill.trained()) <= before and time.monotonic() < deadline:
        if Run(drill.folder).done("train"):
            break
        time.sleep(0.05)
    end = time.monotonic() + wait
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
    code = process.wait(300)
    seconds = time.monotonic() - sent
    # Children of a killed process die just after it, and may be writing until then.
    if psutil.wait_procs(children, timeout=30)[1]:
        raise SystemExit(f"{kind}: processes of the run are still alive after half a minute")
    new = drill.trained()[before:]
    shutil.rmtree(drill.runs)
    return {
        "signal": kind,
        "exit_code": code,
        "seconds_to_end": round(seconds, 2),
        "from_step": new[0] if new else None,
        "to_step": new[-1] if new else None,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--prefix", default="", help="prefix of each command, for example `nice -n 19`")
    options = parser.parse_args(argv)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        base, prefix = Path(scratch) / "tiny", shlex.split(options.prefix)
        make = "import pathlib, sys; from tests.support import tiny; tiny.save(pathlib.Path(sys.argv[1]))"
        subprocess.run([*prefix, sys.executable, "-c", make, str(base)], cwd=ROOT, check=True)
        alone = Drill(Path(scratch) / "alone", base, options.steps, prefix)
        if alone.start(None).wait() not in (0, 3):
            raise SystemExit("the undisturbed run failed")
        events = [e for e in read_records(alone.folder / "events.jsonl") if e["stage"] == "train"]
        seconds = events[-1]["time"] - events[0]["time"]
        drill = Drill(Path(scratch) / "disturbed", base, options.steps, prefix)
        server, store = serve_s3(Path(scratch))
        try:
            kinds = ["SIGTERM"] * 10 + ["SIGKILL"] * 5
            chance.shuffle(kinds)
            stops = []
            for kind in kinds:
                stops.append(interrupt(drill, store, kind, chance.uniform(0.01, 0.05) * seconds))
                print(stops[-1], flush=True)
            code = drill.start(store).wait()
        finally:
            server.kill()
            server.wait()
        if code not in (0, 3):
            raise SystemExit(f"the last start ended with {code}")
        steps = trained_twice(stops)
        result = {
            "what": "classify-lora with a tiny random model on the CPU, S3 store (moto) on loopback",
            "steps": options.steps,
            "save_steps": SAVE_STEPS,
            "undisturbed_training_seconds": round(seconds, 1),
            "interruptions": stops,
            "steps_repeated_after_sigterm": steps["SIGTERM"],
            "steps_repeated_after_sigkill": steps["SIGKILL"],
            "as_the_run_reports": read_json(drill.folder / "metrics.json")["interruptions"],
            "equal": equal(alone, drill),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    fill(DOC, "drill", table(result))
    print(json.dumps(result["equal"]))
    return 0 if all(result["equal"].values()) and not steps["SIGTERM"] else 1


def paragraph(tried: str, compared: dict[str, bool]) -> str:
    """Return a paragraph of the docs: what was tried, and how it compares with an undisturbed run."""
    differ = ", ".join(key for key, same in compared.items() if not same)
    found = f"{differ} differ." if differ else f"everything is equal ({', '.join(compared)})."
    return textwrap.fill(f"{tried} Compared with an undisturbed run, {found}", 88, break_on_hyphens=False)


def table(measured: dict[str, Any]) -> str:
    """Return the paragraph of docs/rented-gpus.md."""
    seconds: dict[str, list[float]] = {"SIGTERM": [], "SIGKILL": []}
    for stop in measured["interruptions"]:
        seconds[stop["signal"]].append(stop["seconds_to_end"])
    return paragraph(
        f"Tried with `benchmarks/preemption_drill.py`: one run of {measured['steps']} steps, a checkpoint "
        f"every {measured['save_steps']}, a tiny model on the CPU, an S3 server on loopback. "
        f"{len(seconds['SIGTERM'])} times SIGTERM and {len(seconds['SIGKILL'])} times kill -9 at random "
        f"moments, the disk wiped each time. After SIGTERM it ended within {max(seconds['SIGTERM']):.1f} s. "
        f"Steps trained twice: {measured['steps_repeated_after_sigterm']} after SIGTERM, "
        f"{measured['steps_repeated_after_sigkill']} after kill -9.",
        measured["equal"],
    )


def trained_twice(stops: list[dict[str, Any]]) -> dict[str, int]:
    """Return the number of steps trained twice, by kind of interruption."""
    again = {"SIGTERM": 0, "SIGKILL": 0}
    trained = [stop for stop in stops if stop["from_step"] is not None]
    for one, following in zip(trained, trained[1:], strict=False):
        again[one["signal"]] += max(0, one["to_step"] - following["from_step"])
    return again


if __name__ == "__main__":
    raise SystemExit(main())
