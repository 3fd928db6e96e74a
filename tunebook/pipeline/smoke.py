"""The smoke test before the actual job: five steps of its config on the longest rows, a save, a reload,
answers.

Memory runs out on the longest rows, not on the first ones; and without this test, a checkpoint that cannot be
written or a model that cannot be loaded would only be noticed after hours. The test runs in a nested run
folder, `smoke/`, which is always removed, so that no later run can mistake its files for its own; its output
is in the run's log. The run's state records what passed, once per machine kind and config.
"""

from __future__ import annotations

import errno
import math
import re
import shutil
import time
from typing import Any

import yaml

from tunebook.config.resolved import Resolved
from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.core.files import AxolotlConfig, digest, read_json, read_jsonl, read_records, write_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.hardware import machine
from tunebook.runs.checkpoints import fault
from tunebook.runs.run import Run
from tunebook.runs.session import Session
from tunebook.runs.supervised import Difference, Supervised, read_supervised, refuse_other_text
from tunebook.training.launch import WORKER, follow_all

STEPS, ROWS, NEW_TOKENS = 5, 8, 32
# the step after which dev is evaluated: a fault there happens before the last step and is not a fault of
# saving
LOOK = 4
CHUNK = 256  # rows tokenized at a time
DROPPED = frozenset(
    """evals_per_epoch saves_per_epoch eval_steps eval_strategy save_strategy save_first_step val_set_size
    early_stopping_patience load_best_model_at_end metric_for_best_model resume_from_checkpoint
    auto_resume_from_checkpoints push_dataset_to_hub profiler_steps""".split()
)
# These steps must not be reported to trackers, and their model must not be uploaded.
REPORTING = re.compile(r"(use_)?(wandb|mlflow|hf_mlflow|comet|trackio|tensorboard|otel|hub)(_|$)")
MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)


def wanted(run: Run, resolved: Resolved, requested: bool | None) -> bool:
    """Return whether the smoke test is due: on the real tier or on request, unless it has already passed."""
    if requested is False or (requested is None and resolved.tier != "real"):
        return False
    kind, config = _key(resolved)
    return run.state().get("smoke", {}).get(kind) != config


def _key(resolved: Resolved) -> tuple[str, str]:
    """Return the machine kind and the config for which a passed test is valid."""
    return machine.kind(machine.facts()), digest([resolved.config, resolved.world])


def smoke(run: Run, resolved: Resolved, console: Console, session: Session | None = None) -> None:
    """Run the smoke test of a prepared run, and record in its state that it passed.

    Raises:
        MachineError: the test failed; the message names the part.
        InputError: rows would be trained on other text than they have.
        StoppedError: SIGTERM arrived.
    """
    nested, start = Run(run / "smoke"), time.monotonic()
    shutil.rmtree(nested.folder, ignore_errors=True)
    nested.folder.mkdir()
    try:
        with run.stage("smoke"):
            prepare(run, nested)
            try:
                _follow(run, nested, console, session)
                broken = _broken(nested)
            except ChildError as error:
                refuse_other_text(_in_own_file(read_supervised(nested / "train"), run))
                broken = (_part(nested), str(error))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                broken = (_part(nested), f"OSError: {error.strerror}")
            if broken:
                raise MachineError(_message(run, *broken), code="train.smoke_failed")
        chosen, losses = read_json(nested / "longest.json"), _losses(nested)
    finally:
        shutil.rmtree(nested.folder, ignore_errors=True)
    state = run.state()
    kind, config = _key(resolved)
    write_json(run / "state.json", {**state, "smoke": {**state.get("smoke", {}), kind: config}})
    console.stage(
        "smoke",
        f"{STEPS} steps on the longest rows (of up to {chosen['tokens']} tokens), loss {losses[0]:.2f} to "
        f"{losses[-1]:.2f}; saved, reloaded, {chosen['asked']} rows answered",
        time.monotonic() - start,
    )


def prepare(run: Run, nested: Run) -> None:
    """Write the config and settings of the smoke test; its rows are chosen later, in a process with a
    tokenizer."""
    config = run.config()
    placed = smoke_config(config, nested)
    (nested / "config.yaml").write_text(yaml.safe_dump(placed, sort_keys=False, allow_unicode=True))
    settings = run.settings()
    suite = settings["suite"]
    suite |= {"max_new_tokens": min(NEW_TOKENS, suite["max_new_tokens"]), "generate_rows": None}
    write_json(nested / "settings.json", settings)


def smoke_config(config: AxolotlConfig, nested: Run) -> dict[str, Any]:
    """Return a run's config with the data, paths and steps of the smoke test, and without reporting.

    Only rows of the recipe's own dataset take part, not those of further files under `datasets:`.
    """
    kept = {key: value for key, value in config.items() if key not in DROPPED and not REPORTING.match(key)}
    kept["datasets"] = [{**config["datasets"][0], "path": str(nested / "data" / "train.jsonl")}]
    if config.get("test_datasets"):
        path = str(nested / "data" / "dev.jsonl")
        kept["test_datasets"] = [{**config["test_datasets"][0], "path": path}]
        kept |= {"eval_strategy": "steps", "eval_steps": LOOK}
    else:
        kept["val_set_size"] = 0
    kept |= {"max_steps": STEPS, "save_strategy": "steps", "save_steps": STEPS}
    output = nested / "train"
    return kept | {"output_dir": str(output), "dataset_prepared_path": str(output / "prepared")}


def _follow(run: Run, nested: Run, console: Console, session: Session | None) -> None:
    world = nested.placement()["world"]
    whole = [(WORKER, ["--longest", "--train", "--ask"], 1)]
    apart = [
        (WORKER, ["--longest", "--tokenise"], 1),
        (WORKER, ["--train"], world),
        (WORKER, ["--ask"], world),
    ]
    follow_all(nested, whole if world == 1 else apart, console, session, run.log)


def _in_own_file(found: Supervised | None, run: Run) -> Supervised | None:
    """Return what was found on the rows of the smoke test, with the places of the rows in the run's own
    file; `enough_rows` has added a number to their ids."""
    if not found or not found["differ"]:
        return found
    file = run / "data" / "train.jsonl"
    lines = {str(row["id"]): line for line, row in enumerate(read_jsonl(file), 1)}
    ids = [one["id"].rpartition("-")[0] for one in found["first"]]
    first = [
        Difference(file=show(file), line=lines.get(id, 0), id=id, text=one["text"])
        for id, one in zip(ids, found["first"], strict=True)
    ]
    return {**found, "first": first}


def _part(nested: Run) -> str:
    """Return the part in which a child process of the smoke test failed."""
    if nested.done("train"):
        return "evaluate" if nested.done("reload") else "reload"
    events = [event for event in read_records(nested / "events.jsonl") if event["stage"] == "train"]
    return "save" if any(event["done"] >= event["total"] for event in events) else "train"


def _losses(nested: Run) -> list[float]:
    log = read_json(nested / "train" / "history.json", {}).get("log", [])
    return [float(entry["loss"]) for entry in log if "loss" in entry]


def _broken(nested: Run) -> tuple[str, str] | None:
    """Return the part and the fault of a smoke test whose child processes all succeeded; None if there is no
    fault."""
    losses = _losses(nested)
    if not losses or not all(map(math.isfinite, losses)):
        return "train", f"the losses of {STEPS} steps are not finite (got {losses})"
    only_model = nested.config().get("save_only_model")
    problem = None if only_model else fault(nested / "train" / f"checkpoint-{STEPS}")
    if problem:
        return "save", f"cannot resume from the checkpoint: {problem}"
    return None


def _message(run: Run, part: str, error: str) -> str:
    do = "Correct the recipe, or skip this test with --no-smoke (SMOKE=0)."
    if MEMORY.search(error):
        name = run.settings()["recipe"]
        do = f"The longest rows do not fit into memory. `make plan NAME={name}` shows what fits. " + (
            "A smaller micro_batch_size or sequence_len, or gradient_checkpointing: true, needs less memory."
        )
    return (
        f"smoke: {part} failed: {error}\nThe smoke test runs {STEPS} steps of the real config on the "
        f"longest rows. The run itself has not started, and none of these steps are kept. {do} Full log: "
        f"{show(run.log)}."
    )
