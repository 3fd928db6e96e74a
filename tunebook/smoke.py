"""Smoke first: before the job proper five steps of its config on the longest rows, a save, a reload, answers.

Memory runs out on the longest rows and not on the first ones, and a checkpoint that cannot be written, or a
model that cannot be loaded again, is found after hours otherwise. It happens in a run folder inside the
run's, `smoke/`, which is removed whatever happens, so that no later run can take anything of it for its own;
what it printed is in the run's log. The run's state has what passed: once a machine kind and config.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tunebook import hardware
from tunebook.checkpoints import fault
from tunebook.child import ChildError
from tunebook.console import Console
from tunebook.dataset import Row, read_rows, write_rows
from tunebook.errors import MachineError
from tunebook.keeper import Keeper, read_events
from tunebook.paths import show
from tunebook.ranks import Ranks
from tunebook.resolve import Resolved, digest
from tunebook.run import Run, read_json, write_json
from tunebook.sampling import enough_rows
from tunebook.tools import texts
from tunebook.train import follow_all

STEPS, ROWS, NEW_TOKENS = 5, 8, 32
LOOK = 4  # the step after which dev is looked at: a fault there comes before the last step, and is no save's
CHUNK = 256  # rows whose lengths are asked for at once
DROPPED = frozenset(
    """evals_per_epoch saves_per_epoch eval_steps eval_strategy save_strategy save_first_step val_set_size
    early_stopping_patience load_best_model_at_end metric_for_best_model resume_from_checkpoint
    auto_resume_from_checkpoints push_dataset_to_hub profiler_steps""".split()
)
# Whoever watches a run elsewhere must not see these steps, and nobody should get their model.
REPORTING = re.compile(r"(use_)?(wandb|mlflow|hf_mlflow|comet|trackio|tensorboard|otel|hub)(_|$)")
MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)


def wanted(run: Run, resolved: Resolved, asked: bool | None) -> bool:
    """Return whether the smoke test is due: on the real tier, or asked for; not where it has passed."""
    if asked is False or (asked is None and resolved.tier != "real"):
        return False
    kind, config = _key(resolved)
    return run.state().get("smoke", {}).get(kind) != config


def _key(resolved: Resolved) -> tuple[str, str]:
    """Return the machine kind and what a test on it holds for."""
    return hardware.kind(hardware.facts()), digest([resolved.config, resolved.world])


def smoke(run: Run, resolved: Resolved, console: Console, keeper: Keeper | None = None) -> None:
    """Run the smoke test of a prepared run, and note in its state that it passed.

    Raises:
        MachineError: it failed; says in which part.
        StoppedError: SIGTERM arrived.
    """
    nested, start = Run(run / "smoke"), time.monotonic()
    shutil.rmtree(nested.folder, ignore_errors=True)
    nested.folder.mkdir()
    try:
        with run.stage("smoke"):
            prepare(run, nested)
            try:
                _follow(run, nested, console, keeper)
                broken = _broken(nested)
            except ChildError as error:
                broken = (_part(nested), str(error))
            if broken:
                raise MachineError(_message(run, *broken))
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
    """Write the config and settings of the smoke test; its rows are chosen where a tokenizer is."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    placed = smoke_config(config, nested)
    (nested / "config.yaml").write_text(yaml.safe_dump(placed, sort_keys=False, allow_unicode=True))
    settings = read_json(run / "settings.json")
    suite = settings["suite"]
    suite |= {"max_new_tokens": min(NEW_TOKENS, suite["max_new_tokens"]), "generate_rows": None}
    write_json(nested / "settings.json", settings)


def smoke_config(config: dict[str, Any], nested: Run) -> dict[str, Any]:
    """Return a run's config with its data, paths and steps those of the smoke test, and nothing reported.

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


def _follow(run: Run, nested: Run, console: Console, keeper: Keeper | None) -> None:
    script, world = "run_training.py", read_json(nested / "settings.json")["world"]
    whole = [(script, ["--longest", "--train", "--ask"], 1)]
    apart = [
        (script, ["--longest", "--tokenise"], 1),
        (script, ["--train"], world),
        (script, ["--ask"], world),
    ]
    follow_all(nested, whole if world == 1 else apart, console, keeper, run.log)


def _part(nested: Run) -> str:
    """Return the part in which a child of the smoke test failed."""
    if nested.done("train"):
        return "evaluate" if nested.done("reload") else "reload"
    events = [event for event in read_events(nested / "events.jsonl") if event["stage"] == "train"]
    return "save" if any(event["done"] >= event["total"] for event in events) else "train"


def _losses(nested: Run) -> list[float]:
    log = read_json(nested / "train" / "history.json", {}).get("log", [])
    return [float(entry["loss"]) for entry in log if "loss" in entry]


def _broken(nested: Run) -> tuple[str, str] | None:
    """Return the part and the fault of a smoke test whose children all ended well; None without any."""
    losses = _losses(nested)
    if not losses or not all(map(math.isfinite, losses)):
        return "train", f"the losses of {STEPS} steps are not numbers (got {losses})"
    only_model = yaml.safe_load((nested / "config.yaml").read_text()).get("save_only_model")
    problem = None if only_model else fault(nested / "train" / f"checkpoint-{STEPS}")
    if problem:
        return "save", f"the checkpoint cannot be gone on from: {problem}"
    return None


def _message(run: Run, part: str, error: str) -> str:
    do = "Correct the recipe, or SMOKE=0 goes on without this test."
    if MEMORY.search(error):
        name = read_json(run / "settings.json")["recipe"]
        do = f"The longest rows do not fit: `make plan NAME={name}` says what does. " + (
            "A smaller micro_batch_size or sequence_len, or gradient_checkpointing: true, needs less."
        )
    return (
        f"smoke: {part} failed: {error}\nThese were {STEPS} steps of the real config on the longest rows. "
        f"The job itself has not begun, and nothing of this is kept. {do} The whole log: {show(run.log)}."
    )


# What follows runs in the child (scripts/run_training.py).


def choose_rows(nested: Run) -> None:
    """Write the longest rows of the run around `nested` that its config trains on, enough for all steps.

    Raises:
        ValueError: no row is short enough.
    """
    from tunebook.prompt import PromptEncoder
    from tunebook.tokenise import lengths, load_tokenizer

    config = yaml.safe_load((nested / "config.yaml").read_text())
    world = read_json(nested / "settings.json")["world"]
    encoder = PromptEncoder(load_tokenizer(config), config.get("chat_template_kwargs"))
    drops = (config.get("excess_length_strategy") or "drop") == "drop"
    limit = config.get("sequence_len", 512) if drops else None

    def size(rows: list[Row]) -> list[int]:
        return [count for count, _ in lengths(encoder, rows)[0]]

    batch = config.get("micro_batch_size", 1) * config.get("gradient_accumulation_steps", 1)
    data = nested.folder.parent / "data"
    rows, tokens = longest(read_rows(data / "train.jsonl"), size, batch * STEPS * world, limit)
    if not rows:
        raise ValueError(f"no row of train has at most {limit} tokens (sequence_len)")
    write_rows(nested / "data" / "train.jsonl", enough_rows(rows, config, STEPS * world))
    dev = longest(read_rows(data / "dev.jsonl"), size, ROWS, limit)[0] or rows[:ROWS]
    once = {"micro_batch_size": config.get("eval_batch_size") or config.get("micro_batch_size", 1)}
    once |= {key: config[key] for key in ("sample_packing", "sequence_len") if key in config}
    write_rows(nested / "data" / "dev.jsonl", enough_rows(dev, once, world))
    write_rows(nested / "data" / "test.jsonl", [])  # test rows take no part
    write_json(nested / "longest.json", {"tokens": tokens, "asked": len(dev)})


def longest(
    rows: list[Row], size: Callable[[list[Row]], list[int]], count: int, limit: int | None
) -> tuple[list[Row], int]:
    """Return the `count` longest of `rows` with at most `limit` tokens, and the tokens of the longest.

    Characters decide the order, so that only as many rows are tokenised as it takes.

    Args:
        size: returns the tokens of each row; 0 for one that cannot be trained on.
    """
    order = sorted(rows, key=lambda row: -sum(map(len, texts(row))))
    found: list[Row] = []
    most = 0
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        for row, tokens in zip(chunk, size(chunk), strict=True):
            if 0 < tokens and (limit is None or tokens <= limit) and len(found) < count:
                found.append(row)
                most = max(most, tokens)
        if len(found) == count:
            break
    return found, most


def ask(nested: Run, events: Path | None, here: Ranks) -> None:
    """Load what was saved as the evaluation will, and let it answer the longest rows of dev."""
    from tunebook.contenders import PLAIN
    from tunebook.evaluate import Evaluation

    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        return nested.stage(name) if here.first else contextlib.nullcontext()

    with here.together():
        with stage("reload"):
            evaluation = Evaluation(nested, events, here)
            evaluation.models.open("tuned")
            here.wait()
        with stage("evaluate"):
            evaluation.rows["dev"] = evaluation.rows["dev"][: read_json(nested / "longest.json")["asked"]]
            evaluation.contender("tuned", "dev", PLAIN, "tuned")
