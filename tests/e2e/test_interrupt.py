"""Ctrl-C in a real training, through make as a person's terminal sends it: to the whole group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.test_recipe import SHORT, Runner
from tunebook.core.files import read_json, read_records
from tunebook.core.paths import ROOT

pytestmark = pytest.mark.slow


def test_ctrl_c_by_make_saves_and_the_same_command_resumes(base: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path, base)
    settings = f"base_model={base} peft_layers_to_transform=null learning_rate=0.02 {SHORT}"
    stamp = f"{sys.prefix}/.tunebook-installed"
    command = ["make", "-C", str(ROOT), f"VENV={sys.prefix}", "-o", stamp, "-o", "setup", "recipe"]
    command += [
        "NAME=classify-lora",
        "TIER=trial",
        "HARDWARE=cpu",
        "STEPS=20",
        f"SET={settings}",
        "EVAL=quick",
    ]
    log = tmp_path / "make.txt"

    def trained() -> int:
        events = read_records(runner.folder / "events.jsonl")
        return max((e["done"] for e in events if e["stage"] == "train"), default=0)

    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            env=runner.env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell that starts pytest in the background leaves Ctrl-C ignored, for children too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        for _ in range(3000):
            if trained() >= 3:
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=120)
    said = log.read_text()
    saved = [int(path.name.partition("-")[2]) for path in (runner.folder / "train").glob("checkpoint-*")]
    assert "run.interrupted" in said and "Rerun the same command" in said, said
    assert "Error 130" in said, "make's own line comes after ours"
    assert said.index("run.interrupted") < said.index("Error 130")
    step = max(saved)  # where it stopped; a quick machine has saved step 5 before
    assert trained() == step >= 3
    assert read_json(runner.folder / "sessions.json")[-1]["end"] == "stopped"
    result = runner.run()
    assert result.returncode in (0, 3), result.stderr
    assert f"training resumes after step {step}" in result.stdout
