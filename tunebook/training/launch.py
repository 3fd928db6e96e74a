"""The training stage in the parent process: start the child process, collect its results."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from tunebook.core.console import Console
from tunebook.core.errors import TunebookError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.models import hub, lanes
from tunebook.runs.checkpoints import RESUMED, ROWS, bring_back, numbered, set_broken_aside, ship
from tunebook.runs.run import Run
from tunebook.runs.session import Session
from tunebook.runs.supervised import forget_difference, read_supervised, refuse_other_text
from tunebook.training import trackers
from tunebook.training.child import follow

# A name, not an import: the worker belongs to a later stage and imports this package.
WORKER = "tunebook.pipeline.worker"


def run_child(
    run: Run, train: bool, evaluate: bool, console: Console, session: Session | None = None
) -> None:
    """Train and evaluate in child processes, following their progress.

    One process does both, because importing the training stack takes half a minute. Before several processes
    start, the rows are tokenised, so that no GPU waits for another's process.

    Raises:
        TunebookError: a child failed; the message has its last error line and the path of the log.
        InputError: rows would be trained on other text than they have.
        StoppedError: SIGTERM arrived; training saved a checkpoint first.
    """
    if train:
        bring_back(run / "train")
        forget_difference(run / "train")
        moved, newest = set_broken_aside(run / "train")
        for line in moved:
            console.note(line)
        file = run / "train" / RESUMED
        earlier = read_json(file, [])
        if newest:
            console.note(f"training resumes after step {newest}")
            write_json(file, [*(step for step in earlier if step < newest), newest])
        elif earlier:
            file.unlink()
    world = run.placement()["world"]
    both = [(WORKER, ["--train"] * train + ["--evaluate"] * evaluate, 1)]
    apart = [(WORKER, ["--tokenise"], 1)] * (train and not run.done("tokenise"))
    apart += [(WORKER, ["--train"], world)] * train
    apart += [(WORKER, ["--evaluate"], world)] * evaluate
    try:
        follow_all(run, both if world == 1 else apart, console, session)
    except ChildError as error:
        refuse_other_text(read_supervised(run / "train"))
        stage = next((s for s in ("train", "evaluate") if not run.done(s)), "evaluate")
        raise TunebookError(
            f"{stage} failed: {error}\nFull log: {show(run.log)}. Rerun the same command to resume from the "
            "last saved state.",
            code="train.child_failed",
        ) from None


def follow_all(
    run: Run,
    modules: list[tuple[str, list[str], int]],
    console: Console,
    session: Session | None = None,
    log: Path | None = None,
) -> None:
    """Run modules on `run`, one after the other, each with its flags and its number of processes.

    Args:
        log: file for the output of the modules; default: the run's log.

    Raises:
        ChildError, StoppedError, MachineError: as `follow`.
    """
    config = run.config()
    offline = hub.use_cache_only(str(run.placement()["base_model"]), config.get("revision_of_model"))
    for module, flags, processes in modules:
        follow(
            module,
            [str(run.folder), *flags],
            console,
            log or run.log,
            run / "events.jsonl",
            processes,
            offline=offline,
            session=session,
            tracked=trackers.wandb(config),
        )


def finish_training(run: Run) -> None:
    """After training, copy the files to ship into model/ and the trainer's log into train/history.json."""
    ship(run / "train", run)
    if (run / "train" / "adapter_config.json").is_file():
        for path in (run / "train").glob("model*.safetensors"):
            path.unlink()  # after preference tuning, Axolotl also saves the frozen base model
    saved = numbered(run / "train")
    state = read_json(saved[-1][1] / "trainer_state.json", {}) if saved else {}
    log, resumed = state.get("log_history", []), read_json(run / "train" / RESUMED, [])
    write_json(
        run / "train" / "history.json",
        {
            "steps": state.get("global_step"),
            "trained_tokens": count_tokens(log, "tokens/trainable", resumed),
            "padded_tokens": count_tokens(log, "tokens/total", resumed),
            "train_rows": trained_rows(read_json(run / "train" / ROWS), state.get("epoch")),
            "changed": read_json(run / "train" / "changed.json"),
            "log": log,
        },
    )


def trained_rows(left: dict[str, int] | None, epochs: float | None) -> int | None:
    """Return the number of rows trained on: of the rows that Axolotl kept, the share reached if training
    stopped before the end of the first epoch; None if they were not counted."""
    if not left:
        return None
    return round(left["train_rows"] * min(1.0, 1.0 if epochs is None else epochs))


def count_tokens(log: list[dict[str, Any]], key: str, resumed: list[int]) -> int | None:
    """Add up a counter of the training log. Unless it continues after a resume, it restarts from 0 at each
    of the steps `resumed`."""
    total = before = last = 0
    entries = [entry for entry in log if key in entry]
    for entry in entries:
        if any(last <= step < entry["step"] for step in resumed):
            before = before if lanes.keeps_token_counts() and int(entry[key]) > before else 0
        total += int(entry[key]) - before
        before, last = int(entry[key]), entry["step"]
    return total if entries else None


def note_usage(run: Run) -> None:
    """Write eval/usage.json: the peak memory of all processes of the run so far, in GiB."""
    path = run / "eval" / "usage.json"
    path.parent.mkdir(exist_ok=True)
    before = read_json(path, {})
    write_json(path, {name: max(gib, before.get(name, 0.0)) for name, gib in usage().items()})


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
