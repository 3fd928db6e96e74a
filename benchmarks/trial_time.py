"""Measure where the time of a trial run goes on this machine, before and after a change.

    python benchmarks/trial_time.py LABEL [--checkout FOLDER] [RECIPE ...]

Runs the recipes of a checkout (default: this one) once on the trial tier, in a separate folder. Writes into
benchmarks/results/trial_time.json, under LABEL: the seconds of each stage and until the first step, the
tokens per second of training, including padding, the share of the machine's peak in matrix products that they
reach, and peak memory. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tunebook.core.files import read_json, read_jsonl, write_json
from tunebook.core.paths import ROOT, child_environment
from tunebook.hardware import machine
from tunebook.hardware.memory_settings import setting
from tunebook.metrics.schema import read_metrics
from tunebook.models import shapes
from tunebook.models.trial_model import NAME
from tunebook.plan.hours import step_flops
from tunebook.runs.run import Run

TARGET = ROOT / "benchmarks" / "results" / "trial_time.json"
RECIPES = ("classify-lora", "chat-lora")
PEAK = """
import time, torch
a, b = (torch.randn(2048, 2048).to(getattr(torch, "{dtype}")) for _ in range(2))
torch.mm(a, b)
start, count = time.perf_counter(), 0
while time.perf_counter() - start < 3:
    torch.mm(a, b)
    count += 1
print(2 * 2048**3 * count / (time.perf_counter() - start) / 1e9)
"""


def peak(dtype: str) -> float:
    """Return the GFLOP/s of matrix products of 2,048 x 2,048 on this machine, over three seconds."""
    code = PEAK.format(dtype=dtype)
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    return float(done.stdout)


def measure(name: str, checkout: Path, runs: Path) -> dict[str, Any]:
    """Run recipe `name` of `checkout` on the trial tier; return the times of its stages."""
    words = ["recipe", name, "--tier", "trial", "--hardware", "cpu"]
    told = {"TUNEBOOK_RUNS": str(runs), "PYTHONPATH": str(checkout)}
    start, begun = time.time(), time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "tunebook.commands.cli", *words], cwd=checkout, env={**os.environ, **told}
    ).returncode
    seconds = time.monotonic() - begun
    if code not in (0, 3):
        raise SystemExit(f"`tunebook {' '.join(words)}` ended with exit code {code}.")
    run = Run(runs / name / "latest")
    found, history, config = read_metrics(run / "metrics.json"), run.history(), run.config()
    events = list(read_jsonl(run / "events.jsonl"))
    steps = [event for event in events if event["stage"] == "train"]
    training = steps[-1]["time"] - steps[0]["time"]
    jobs: dict[str, float] = {}
    for event, following in pairwise([event for event in events if event["stage"] == "evaluate"]):
        jobs[event["job"]] = jobs.get(event["job"], 0.0) + following["time"] - event["time"]
    padded, trained = history["padded_tokens"], history["trained_tokens"]
    shape, s = shapes.find(NAME), setting(config | {"base_model": NAME})
    length = padded / max(1, history["steps"]) / config["micro_batch_size"]
    reached = padded * step_flops(shape, s, length) / training / 1e9
    dtype = "bfloat16" if config.get("bf16") else "float32"
    most = peak(dtype)
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return {
        "commit": commit.stdout.strip() or None,
        "exit": code,
        "seconds": round(seconds, 1),
        "until_first_step": round(steps[0]["time"] - start, 1),
        "training": round(training, 1),
        "evaluation_jobs": {job: round(took, 1) for job, took in jobs.items()},
        "steps": history["steps"],
        "padded_tokens": padded,
        "trained_tokens": trained,
        "padded_tokens_per_second": round(padded / training, 1),
        "dtype": dtype,
        "peak_gflops": round(most, 1),
        "share_of_peak": round(reached / most, 3),
        "peak_memory_gib": found["peak_memory_gib"],
        "primary": found["contenders"]["tuned"][found["primary"]]["value"],
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("label", help="label of the results: before, after, or another word")
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the checkout whose code runs")
    args = parser.parse_args(argv)
    found = read_json(TARGET, {})
    with tempfile.TemporaryDirectory() as folder:
        for name in args.recipes:
            measured = measure(name, args.checkout.resolve(), Path(folder))
            print(json.dumps(measured, indent=1), flush=True)
            found.setdefault(args.label, {})[name] = measured | {"hardware": machine.facts()}
            write_json(TARGET, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
