"""The real tier of a recipe on the CPU, against the Hub's stand-in: the console entry in its own process.

A machine of its own for each test: caches, runs and the Hub's address; nothing of the person's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.commands import OWN
from tests.support.hub_server import Hub
from tunebook.config.recipe import load_recipe
from tunebook.core.paths import ROOT, cache_folder
from tunebook.runs.run import Run

# Two checkpoints, with dev evaluated at both: what `best` chooses from.
SHORT = "evals_per_epoch=null saves_per_epoch=null eval_steps=1 save_steps=1 warmup_ratio=0 replay=none"
# the smallest files of NLTK's punkt_tab with which it splits sentences
SENTENCES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")
SEEN = ROOT / "tests" / "support" / "network_seen"


class Machine:
    """A machine that runs `tunebook` with the stand-in as its Hub."""

    def __init__(self, folder: Path, hub: Hub, **variables: str) -> None:
        self.folder, self.hub, self.runs = folder, hub, folder / "runs"
        cache = folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / "models").exists():
            (cache / "models").symlink_to(cache_folder() / "models")  # the trial model is converted once
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in OWN and not name.startswith(("HF_", "TRANSFORMERS_"))
        }
        self.env = {
            **kept,
            "TUNEBOOK_CACHE": str(cache),
            "TUNEBOOK_RUNS": str(self.runs),
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_DISABLE_XET": "1",  # for uploads; the stand-in speaks LFS
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(SEEN)]),
            "NETWORK_SEEN": str(folder / "network.txt"),
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(cache_folder() / "bytecode")),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "COLUMNS": "200",
            **variables,
        }

    def command(self, recipe: str, *words: str, settings: str = "") -> list[str]:
        """Return the command of a real-tier run of two steps."""
        start = [sys.executable, "-m", "tunebook.commands.cli", "recipe", recipe, "--tier", "real"]
        start += ["--hardware", "cpu", "--steps", "2", "--rows", "train=32,dev=8,test=8"]
        # Liger's kernels need a GPU; what else a CPU does not run is off in hardware/cpu.yaml.
        kernels = [f"{key}=false" for key in load_recipe(recipe).config if key.startswith("liger_")]
        return [*start, "--set", " ".join([SHORT, *kernels, settings]), *words]

    def run(self, recipe: str, *words: str, settings: str = "") -> subprocess.CompletedProcess[str]:
        return self.call(self.command(recipe, *words, settings=settings))

    def call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=1500)

    def kill_when(self, ready: Callable[[], bool], command: list[str]) -> None:
        """Start, kill -9 when `ready`, and wait until it is gone."""
        process = subprocess.Popen(
            command, env=self.env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(60000):
            if ready():
                break
            assert process.poll() is None, "finished before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def latest(self, recipe: str) -> Run:
        return Run((self.runs / recipe / "latest").resolve())

    def network(self) -> list[str]:
        """Return what the processes of this machine have asked of the network since the last call."""
        file = Path(self.env["NETWORK_SEEN"])
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def know_sentences(self) -> None:
        """Put a small punkt_tab where NLTK looks for it, which otherwise comes from GitHub."""
        home = Path(self.env["TUNEBOOK_CACHE"]) / "nltk" / "tokenizers" / "punkt_tab" / "english"
        home.mkdir(parents=True, exist_ok=True)
        for name in SENTENCES:
            (home / name).write_text("")


def stages(run: Run) -> dict[str, str]:
    """Return the stages of a run with how they ended."""
    state = json.loads((run / "state.json").read_text())
    return {name: entry["status"] for name, entry in state["stages"].items()}
