"""`tunebook check`: what can be wrong with a run, found before anything is trained.

Unknown keys and wrong types are found while the config is composed (tunebook/keys.py), faults of rows
while they are rendered (tunebook/dataset.py). Here: what the config says as a whole, the machine and
the Hub, and for the verb, Axolotl's own validation under pretended GPU capabilities.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunebook import hardware
from tunebook.console import Console
from tunebook.dataset import load as load_dataset
from tunebook.errors import GOOD, InputError, MachineError, Problem, raise_all
from tunebook.paths import ROOT, child_environment, runs_folder
from tunebook.recipes import Recipe, load
from tunebook.render import render_all
from tunebook.resolve import Options, Resolved, resolve

FREE_BYTES_TRIAL = 3_000_000_000
H100 = hardware.Machine(gpus=1, gib=80, compute_capability=9.0)


def check_config(resolved: Resolved) -> None:
    """Raise InputError with everything that is wrong with the composed config."""
    config, recipe = resolved.config, resolved.recipe
    problems: list[Problem] = []

    def add(key: str, text: str) -> None:
        set_here = config.get(key) != recipe.config.get(key) and resolved.hardware is not None
        file = f"SET or hardware/{resolved.hardware}.yaml" if set_here else recipe.file
        problems.append(Problem(text, file, None if set_here else recipe.lines.get((key,)), key))

    if "seed" not in config:
        add("seed", "missing; without it no run can be repeated. Add `seed: 42`.")
    if not config.get("datasets"):
        add("datasets", "missing; name the rows to train on.")
    if config.get("val_set_size"):
        add("val_set_size", "cuts rows off train at random; name the dev rows under test_datasets instead.")
    dev = f"datasets/{recipe.dataset}/rows/dev.jsonl"
    for index, entry in enumerate(recipe.config.get("test_datasets") or []):
        if entry.get("path") != dev:
            problems.append(
                Problem(
                    f"must be {dev}, the dev split; test rows never enter training "
                    f"(got {entry.get('path')!r}).",
                    recipe.file,
                    recipe.lines.get(("test_datasets", index, "path")),
                    f"test_datasets[{index}].path",
                )
            )
    for index, entry in enumerate(config.get("datasets") or []):
        path = Path(str(entry.get("path")))
        if index and path.suffix in (".jsonl", ".json", ".parquet", ".csv") and not (ROOT / path).is_file():
            problems.append(
                Problem(
                    f"no such file: {path}. Rows of another dataset here are made by `make data`.",
                    recipe.file,
                    recipe.lines.get(("datasets", index, "path")),
                    f"datasets[{index}].path",
                )
            )
    machine = resolved.overlay.machine if resolved.overlay else None
    if machine:
        for key, text in hardware.too_much(config, machine.compute_capability).items():
            add(key, f"on {resolved.hardware}: {text}")
    raise_all(problems)


def check_machine(resolved: Resolved) -> None:
    """Raise MachineError where this machine cannot run the config: disk, GPU, Hub."""
    runs_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(runs_folder()).free
    if free < FREE_BYTES_TRIAL:
        raise MachineError(f"{runs_folder()}: {free / 1e9:.1f} GB free; a run needs 3 GB.")
    found = len(hardware.gpus())
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


def reach_hub(base: str, revision: str | None) -> None:
    """Raise MachineError unless `base` is on the Hub and reachable, or already in the Hub's cache."""
    from huggingface_hub import model_info, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    if isinstance(try_to_load_from_cache(base, "config.json", revision=revision), str):
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


def validate_with_axolotl(config: dict[str, Any], machine: hardware.Machine) -> None:
    """Let Axolotl validate `config` in a child process, as if on `machine` (half a minute).

    Raises:
        InputError: Axolotl refuses it, in Axolotl's words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "config.json"
        path.write_text(json.dumps({"config": config, "machine": machine.model_dump()}))
        result = subprocess.run(
            [sys.executable, "-m", "tunebook.axolotl_check", str(path)],
            capture_output=True,
            text=True,
            env=child_environment() | {"HF_HUB_OFFLINE": "1"},
        )
    if result.returncode:
        lines = [line for line in result.stdout.splitlines() if line.startswith("REFUSED ")]
        reason = "\n".join(line.removeprefix("REFUSED ") for line in lines) or result.stderr[-2000:]
        raise InputError(f"Axolotl refuses this config: {reason}")


def run_check(name: str, options: Options, console: Console) -> int:
    """Check the real run of recipe `name`, whatever machine this is. Returns the exit code.

    Raises:
        InputError: something is wrong with the recipe, its data or the options.
    """
    recipe: Recipe = load(name)
    with console.timed(None, "config") as words:
        resolved = resolve(recipe, replace(options, tier="real"), for_this_machine=False)
        check_config(resolved)
        words.append(f"{recipe.file}: {len(resolved.config)} keys, all known")
    with console.timed(None, "rows") as words:
        dataset = load_dataset(recipe.dataset)
        counts = [f"{len(rows)} {split}" for split, rows in render_all(dataset).items()]
        words.append(f"datasets/{dataset.name}: " + ", ".join(counts))
    with console.timed(None, "axolotl") as words:
        machine = (resolved.overlay and resolved.overlay.machine) or H100
        machine = machine.model_copy(update={"gpus": resolved.world})
        validate_with_axolotl(resolved.config, machine)
        cards = f"{machine.gpus} x {machine.gib} GB, compute capability {machine.compute_capability}"
        words.append(f"accepted by its own validation, as on {cards}")
    try:
        base = str(recipe.config["base_model"])
        if not Path(base).is_dir():
            reach_hub(base, recipe.config.get("revision_of_model"))
        console.stage("base", f"{base} can be had")
    except MachineError as error:
        console.stage("base", f"not checked (offline): {error}")
    return GOOD
