"""The training stage, seen from the parent: start the child, follow it, take over what it made."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from tunebook.checkpoints import numbered, set_broken_aside
from tunebook.console import Console
from tunebook.errors import StoppedError, TunebookError
from tunebook.paths import ROOT, child_environment, show
from tunebook.run import Run, read_json, write_json

SHIPPED = [
    *("*.safetensors", "adapter_config.json", "config.json", "generation_config.json"),
    *("tokenizer*", "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt"),
]
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` leaves no orphan that
    would write beside the next try. Each fork has to ask for itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_child(run: Run, train: bool, evaluate: bool, console: Console) -> None:
    """Train and evaluate in a child process, following its progress.

    Raises:
        TunebookError: the child failed; the message holds its last error line and the log's path.
        StoppedError: SIGTERM arrived; the child was stopped and its checkpoints kept.
    """
    if train:
        moved, newest = set_broken_aside(run / "train")
        for line in moved:
            console.note(line)
        if newest:
            console.note(f"training resumes after step {newest}")
    events = run / "events.jsonl"
    events.touch()
    position = events.stat().st_size
    command = [sys.executable, str(ROOT / "scripts" / "run_training.py"), str(run.folder)]
    command += ["--train"] * train + ["--evaluate"] * evaluate
    environment = child_environment() | {"TUNEBOOK_EVENTS": str(events), "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # One process sees one card; with more, the Trainer would fall back to DataParallel.
    environment["CUDA_VISIBLE_DEVICES"] = environment.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    if Path(read_json(run / "settings.json")["base_model"]).is_dir():
        environment.setdefault("HF_HUB_OFFLINE", "1")
    with run.log.open("a", encoding="utf-8") as log:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
    with _terminate(child), console.progress() as bars, events.open(encoding="utf-8") as file:
        file.seek(position)
        while True:
            ended = child.poll() is not None
            for line in file.readlines():
                if line.endswith("\n"):
                    bars.show(json.loads(line))
            if ended:
                break
            time.sleep(0.2)
    if child.returncode == -signal.SIGTERM:
        raise StoppedError("Stopped. The same command goes on from the newest checkpoint.")
    if child.returncode:
        stage = next((s for s in ("train", "evaluate") if not run.done(s)), "evaluate")
        raise TunebookError(
            f"{stage} failed: {_last_error(run.log)}\nThe whole log: {show(run.log)}. "
            "The same command goes on from the last saved state."
        )


class _terminate:
    """Pass SIGTERM and Ctrl-C on to the child, and stop it when the block is left early."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGTERM, lambda *_: self.child.terminate())

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self.before)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def _last_error(log: Path) -> str:
    """Return the last line of the log that looks like an exception's."""
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque(file, maxlen=400)
    for line in reversed(lines):
        if re.match(r"^(\w+\.)*\w*(Error|Exception|Interrupt)\b", line):
            return line.strip()
    return "it ended without a message (out of memory?)"


def finish_training(run: Run) -> None:
    """After training: put what ships into model/ and the loss curve into train/history.json."""
    model = run / "model.partial"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    for pattern in SHIPPED:
        for path in (run / "train").glob(pattern):
            shutil.copy2(path, model / path.name)
    shutil.rmtree(run / "model", ignore_errors=True)
    model.rename(run / "model")
    saved = numbered(run / "train")
    state = read_json(saved[-1][1] / "trainer_state.json", {}) if saved else {}
    log = state.get("log_history", [])
    write_json(
        run / "train" / "history.json",
        {
            "steps": state.get("global_step"),
            "trained_tokens": count_tokens(log, "tokens/trainable"),
            "padded_tokens": count_tokens(log, "tokens/total"),
            "changed": read_json(run / "train" / "changed.json"),
            "log": log,
        },
    )


def count_tokens(log: list[dict[str, Any]], key: str) -> int | None:
    """Add up a counter of the training log, which starts from 0 again after a resume."""
    total = before = 0
    values = [int(entry[key]) for entry in log if key in entry]
    for value in values:
        total += value - before if value >= before else value
        before = value
    return total if values else None


def usage() -> dict[str, float]:
    """Return the peak memory of this process and of its ended children, in GiB."""
    kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    scale = 1 if sys.platform == "darwin" else 1024
    peaks = {
        "evaluate_gib": round(kib[0] * scale / 2**30, 2),
        "train_gib": round(kib[1] * scale / 2**30, 2),
    }
    import torch

    if torch.cuda.is_available():
        peaks["gpu_evaluate_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return peaks
