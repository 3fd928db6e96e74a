"""What this machine can do for a run: disk, GPU, Hub. And Axolotl's own validation, in a child."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tunebook import hardware
from tunebook.errors import InputError, MachineError, TunebookError
from tunebook.paths import child_environment, runs_folder
from tunebook.resolve import Resolved

FREE_BYTES_TRIAL = 3_000_000_000


def check_machine(resolved: Resolved) -> None:
    """Raise MachineError where this machine cannot run the config: disk, GPU, Hub."""
    runs_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(runs_folder()).free
    if free < FREE_BYTES_TRIAL:
        raise MachineError(f"{runs_folder()}: {free / 1e9:.1f} GB free; a run needs 3 GB.")
    found = len(hardware.gpus()) * int(os.environ.get("TUNEBOOK_NODES", "1"))  # equal nodes of one job
    if resolved.world > max(1, found):
        raise MachineError(f"GPUS: {resolved.world} asked for, {found} found on this machine.")
    if resolved.world == 1 and resolved.config.get("fsdp_version"):
        raise MachineError(
            f"hardware/{resolved.hardware}.yaml shares one model over several GPUs; this run has one. Take "
            "another overlay."
        )
    base = str(resolved.config["base_model"])
    if Path(base).is_dir():
        return
    reach_hub(base, resolved.config.get("revision_of_model"))
    if resolved.tier == "real" and not hardware.gpus():
        raise MachineError("The real tier needs an NVIDIA GPU and none was found. TIER=trial needs none.")


def cached(base: str, file: str, revision: str | None) -> Path | None:
    """Return `file` of the model `base` in the Hub's local cache, if it is there."""
    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def reach_hub(base: str, revision: str | None) -> None:
    """Raise MachineError unless `base` is on the Hub and reachable, or already in the Hub's cache."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError

    if cached(base, "config.json", revision):
        return
    try:
        model_info(base, revision=revision, timeout=15)
    except HfHubHTTPError as error:
        raise MachineError(
            f"base_model: the Hub answered {error.response.status_code} for {base!r}. Check the name, "
            "and HF_TOKEN if the model is gated."
        ) from None
    except Exception as error:  # the Hub client lets many connection errors through
        raise MachineError(
            f"base_model: {base!r} is not in the local cache and the Hub cannot be reached "
            f"({type(error).__name__}). Connect this machine, or give base_model a local folder."
        ) from None


class Axolotl:
    """Axolotl asked about a config and its rows by tunebook/axolotl_check.py, a child process that starts at
    once: its imports take longer than most rows do, so the caller goes on until it wants the answer."""

    def __init__(self, job: dict[str, Any], offline: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.scratch = Path(self._folder.name)
        job_file = self.scratch / "job.json"
        job_file.write_text(json.dumps({**job, "scratch": str(self.scratch)}))
        self._said = (self.scratch / "stderr").open("w+")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tunebook.axolotl_check", str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            text=True,
            env=child_environment() | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
        )

    def __enter__(self) -> Axolotl:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._said.close()
        self._folder.cleanup()

    def answer(self, rows: Path | None = None) -> dict[str, Any]:
        """Return what the child says about its job, and about `rows` where the job is to be told them later.

        Raises:
            TunebookError: the child broke down; the message holds its last lines.
        """
        self._child.communicate(f"{rows}\n" if rows else "")
        answer = self.scratch / "answer.json"
        if self._child.returncode or not answer.is_file():
            self._said.seek(0)
            last = "\n".join(self._said.read().strip().splitlines()[-5:])
            raise TunebookError(f"Axolotl could not be asked: {last}")
        return json.loads(answer.read_text())


def ask_axolotl(job: dict[str, Any], offline: bool = True) -> dict[str, Any]:
    """Return what Axolotl says about `job`, half a minute later; raises what `Axolotl.answer` raises."""
    with Axolotl(job, offline) as axolotl:
        return axolotl.answer()


def validate_with_axolotl(config: dict[str, Any], machine: hardware.Machine) -> dict[str, Any]:
    """Let Axolotl validate `config` in a child process, as if on `machine` (half a minute), and return
    the config as it completes it.

    Raises:
        InputError: Axolotl refuses it, in Axolotl's words.
    """
    answer = ask_axolotl({"config": config, "machine": machine.model_dump()})
    if answer["refused"]:
        raise InputError(f"Axolotl refuses this config: {answer['refused']}")
    return answer["effective"]
