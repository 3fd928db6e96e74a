"""`make recipe REHEARSE=1`: the real tier on this machine's CPU, with the base model cut to two layers.

All stages of a run, from the real config to the report, with the base model's own architecture, tokenizer
and template, but random weights and 64 rows. What fails here would have failed on the rented GPU. The run
folder is marked as a rehearsal and emptied at the end, because no number in it is a result.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace

from tunebook.check.config import check_config
from tunebook.check.machine import check_machine
from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe, load_recipe
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.console import Console
from tunebook.core.environment import environment, variable
from tunebook.core.errors import GOOD, InputError, MachineError, TunebookError
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.core.secrets import mask_known
from tunebook.core.visible import VARIABLE
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.sampling import enough_rows
from tunebook.data.thinking import setting
from tunebook.evaluation import suite
from tunebook.models import cut_model
from tunebook.pipeline import rehearsal_config as settings
from tunebook.pipeline.prepare import prepare_rows, with_labels, write_inputs
from tunebook.pipeline.rehearsal_words import Rehearsed, exercised, not_exercised
from tunebook.pipeline.replay_rows import replay_rows
from tunebook.plan.choose import cheapest, price_line
from tunebook.plan.planner import Plan
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs import rehearsal
from tunebook.runs.checkpoints import fault, numbered
from tunebook.runs.rows import RenderedRow, write_rows
from tunebook.runs.run import Run
from tunebook.runs.supervised import read_supervised, refuse_other_text
from tunebook.training.launch import WORKER, follow_all

STAGES = ("train", "evaluate", "compare", "report")
# Variables that add what a laptop does not have, or what costs money.
NOT_USED = ("vllm", "endpoint", "judge")
REFUSED = {"store": "--store (STORE=)", "from_run": "--from-run (FROM_RUN=)"}


def rehearse(name: str, options: Options, console: Console) -> int:
    """Rehearse the real run of recipe `name`, print what that has shown and what not, and return 0.

    Raises:
        InputError: the recipe or its rows are wrong, or an option does not go with a rehearsal.
        MachineError: the base model's small files or the rows are not on this machine and the Hub cannot be
            reached; or a stage failed, which the message names.
    """
    start = time.monotonic()
    _refuse(options)
    recipe = load_recipe(name)
    hidden = _hide()
    dataset = load_dataset_config(recipe.dataset)
    real = _resolved(recipe, options, dataset, None)
    check_config(real)  # again below, with the overlay; here before anything is made or downloaded
    base, cut = cut_model.ensure(str(real.config["base_model"]), real.config.get("revision_of_model"))
    counts = settings.row_counts(options.rows)
    # A sample has a row of every label, of which there may be more than these.
    rows = {split: some[: counts[split]] for split, some in prepare_rows(real, dataset, counts).items()}
    plan, no_plan = _plan(recipe, options)
    real = _resolved(recipe, options, dataset, plan)
    check_config(real)
    thinking = setting.of(real.config)
    whole = suite.load_suite(recipe, dataset.task, "real", options.eval, "", thinking, real.mixes_general)
    less, left_out = settings.rehearsal_suite(whole)
    left_out += [f"other models: {options.beside}"] if options.beside else []
    config, switched, outside = settings.rehearsal_config(real, base)
    here = replace(real, config=config, world=1, overlay=None)
    check_machine(here)
    about = Rehearsed(real, config, cut, {}, switched, outside, left_out, plan, hidden)
    key = settings.key(real, dataset)
    run = Run(rehearsal.folder(name, key))
    with run.locked():
        rehearsal.begin(name, key)
        console.stages = STAGES
        console.stage("check", f"{recipe.file}, tier real, overlay {real.hardware}, {_model(about)}")
        try:
            _write(run, here, dataset, less, rows, about)
            _stages(run, console)
            done = exercised(about, run)
        except Exception as error:
            rehearsal.failed(run.folder, mask_known(str(error)))
            raise
        except BaseException:  # Ctrl-C
            rehearsal.failed(run.folder, "interrupted")
            raise
        price = price_line(plan) if plan else f"not known: {no_plan}"
        seconds = time.monotonic() - start
        kept = rehearsal.passed(run.folder, seconds, done, not_exercised(about), price)
    _say(kept, console)
    return GOOD


def passed_rehearsal(recipe: Recipe, options: Options, plan: Plan) -> rehearsal.Rehearsal | None:
    """Return the rehearsal that has passed here for the real run of `plan`, whatever its seed and steps."""
    dataset = load_dataset_config(recipe.dataset)
    real = _resolved(recipe, options, dataset, plan)
    return rehearsal.find_passed(recipe.name, settings.key(real, dataset))


def _refuse(options: Options) -> None:
    if options.tier == "trial":
        text = "--rehearse (REHEARSE=1) is about the real tier. Leave --tier (TIER=) out."
        raise InputError(text, code="option.not_with_rehearse")
    for field, option in REFUSED.items():
        if getattr(options, field):
            text = f"{option}: not with --rehearse (REHEARSE=1), which has random weights and keeps nothing."
            raise InputError(text, code="option.not_with_rehearse")


def _hide() -> list[str]:
    """Hide every GPU and the variables that a rehearsal does not use from this process and its children, and
    return the names of those that were set."""
    os.environ[VARIABLE] = ""
    used = [variable(field) for field in NOT_USED if getattr(environment(), field)]
    for name in used:
        del os.environ[name]
    return used


def _resolved(recipe: Recipe, options: Options, dataset: Dataset, plan: Plan | None) -> Resolved:
    """Return the real tier's config on the GPUs of `plan`, without an overlay if there is no plan."""
    asked = replace(options, tier="real")
    if plan:
        asked = replace(asked, hardware=plan.hardware, gpus=plan.count)
    return with_labels(resolve(recipe, asked, for_this_machine=False), dataset)


def _plan(recipe: Recipe, options: Options) -> tuple[Plan | None, str]:
    """Return the plan, or None and why there is none: its formulas do not cover every architecture."""
    try:
        return cheapest(recipe, replace(options, tier="real")), ""
    except InputError as error:
        if error.code not in ("model.not_dense", "model.unknown_shape", "model.incomplete_config"):
            raise
        return None, str(error)


def _model(about: Rehearsed) -> str:
    cut = about.cut
    return f"{about.base} as {cut.architecture} with {cut.layers[1]} of {cut.layers[0]} layers on the CPU"


def _write(
    run: Run,
    here: Resolved,
    dataset: Dataset,
    less: suite.Suite,
    rows: dict[Split, list[RenderedRow]],
    about: Rehearsed,
) -> None:
    """Write what the stages read: rows, config and settings."""
    about.rows |= {split: len(rows[split]) for split in SPLITS}
    replay = replay_rows(here, len(rows["train"]))
    settings.few_more_rows(here.config, run)
    for split in SPLITS:
        # `enough_rows` counts one step more, for a batch that Axolotl leaves out.
        some = enough_rows(rows[split], here.config, settings.STEPS - 1) if split == "train" else rows[split]
        write_rows(run / "data" / f"{split}.jsonl", some)
    write_inputs(run, here, dataset, less, "", replay)


def _stages(run: Run, console: Console) -> None:
    """Train, evaluate, compare and report.

    Raises:
        MachineError: one of them failed.
    """
    try:
        follow_all(run, [(WORKER, ["--train", "--evaluate"], 1)], console)
    except ChildError as error:
        refuse_other_text(read_supervised(run / "train"))
        raise _failure(run, "evaluate" if run.done("train") else "train", str(error)) from None
    losses = [float(entry["loss"]) for entry in run.history()["log"] if "loss" in entry]
    if not losses or not all(map(math.isfinite, losses)):
        raise _failure(run, "train", f"the losses are not finite (got {losses})")
    if not run.config().get("save_only_model"):
        for _, folder in numbered(run / "train"):
            if problem := fault(folder):
                raise _failure(run, "save", f"cannot resume from {folder.name}: {problem}")
    for stage in STAGES[:2]:
        console.stage(stage, "done", run.state()["stages"][stage]["seconds"])
    for stage, work in (("compare", compare), ("report", write_report)):
        try:
            with console.timed(run, stage) as words:
                work(run)
                words.append("done")
        except TunebookError:
            raise
        except Exception as error:
            raise _failure(run, stage, f"{type(error).__name__}: {error}") from error


def _failure(run: Run, stage: str, error: str) -> MachineError:
    text = (
        f"rehearsal: {stage} failed: {error}\nThe real run would fail there, too, unless the cause is this "
        f"machine. Full log: {show(run.log)}."
    )
    return MachineError(text, code="train.rehearsal_failed")


def _say(kept: rehearsal.Rehearsal, console: Console) -> None:
    console.stage("exercised", "what a GPU would do in the same way")
    for line in kept["exercised"]:
        console.note(line)
    console.stage("not", "exercised here, what only a GPU can show")
    for line in kept["not_exercised"]:
        console.note(line)
    console.stage("price", kept["price"])
    memory = f" with {kept['peak_gib']:.1f} GiB" if kept["peak_gib"] else ""
    words = f"in {kept['seconds'] / 60:.1f} minutes{memory}; no number of it is a result. "
    console.stage("passed", f"{words}Next: make launch NAME={kept['recipe']} ON=...")
