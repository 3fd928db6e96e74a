"""`tunebook recipe`: resolve, check, data, smoke test, train, evaluate, compare, report."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from tunebook.check.config import check_config
from tunebook.check.machine import check_machine
from tunebook.config.overrides import Options, parse_rows
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import pick_tier, resolve
from tunebook.config.resolved import Resolved
from tunebook.core import ranks
from tunebook.core.console import Console
from tunebook.core.errors import GATE_FAILED, GOOD
from tunebook.core.files import digest, write_json
from tunebook.core.paths import runs_folder, show
from tunebook.data.dataset import load_dataset_or_stand_in
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.thinking import setting
from tunebook.evaluation import suite
from tunebook.export import merge
from tunebook.hardware import machine, overlays
from tunebook.metrics.schema import read_metrics
from tunebook.models import lanes, trial_model
from tunebook.pipeline import prepare, smoke
from tunebook.pipeline.fetch import fetch
from tunebook.pipeline.prepare import (
    SAMPLE_SEED,
    evaluation_digest,
    fewer_drawn,
    more_rows,
    prepare_rows,
    write_inputs,
)
from tunebook.pipeline.replay_rows import replay_rows
from tunebook.plan import trial
from tunebook.report.format import show_verdict
from tunebook.report.published import other_base, published
from tunebook.report.report import write_report
from tunebook.report.seeds import across_seeds
from tunebook.report.verdict import compare
from tunebook.runs import versions
from tunebook.runs.rows import RenderedRow, write_rows
from tunebook.runs.run import Run, find, pick, point_latest
from tunebook.runs.session import Session
from tunebook.runs.supervised import read_supervised, sentence
from tunebook.training import trackers
from tunebook.training.launch import run_child
from tunebook.training.preflight import check_collectives

STAGES = ("check", "data", "train", "evaluate", "compare", "report")
SHORTER = (
    "For a shorter first run with a less reliable verdict, use STEPS=60 EVAL=quick. Ctrl-C saves this run."
)


def run_recipe(name: str, options: Options, console: Console, seeds: int = 1) -> int:
    """Run or resume the recipe `name`, show its verdict and return the exit code; raises what `execute`
    raises. With several `seeds`, run one after the other and write a summary, runs/<name>/seeds.json."""
    if seeds == 1:
        return show_run(execute(name, options, console), console)
    first = load_recipe(name).config.get("seed", SAMPLE_SEED) if options.seed is None else options.seed
    runs = [execute(name, replace(options, seed=first + i), console) for i in range(seeds)]
    codes = [show_run(run, console) for run in runs]
    found = across_seeds([read_metrics(run / "metrics.json") for run in runs])
    write_json(runs_folder() / name / "seeds.json", found)
    console.stage("seeds", found["sentence"])
    return max(codes)


def execute(name: str, options: Options, console: Console) -> Run:
    """Run or resume the recipe `name` and return its finished run.

    Raises:
        InputError, MachineError: the input or the machine is at fault; raised before anything is written.
    """
    start = time.monotonic()
    recipe, requested = load_recipe(name), parse_rows(options.rows)
    if pick_tier(options) == "trial" and not (trial_model.folder() / "tunebook.json").is_file():
        console.stage("set-up", f"converting the trial base model {trial_model.NAME} (once, about a minute)")
        trial_model.ensure()
    resolved = resolve(recipe, options)
    dataset = load_dataset_or_stand_in(recipe.dataset, resolved.tier == "trial")
    resolved = prepare.with_labels(resolved, dataset)
    thinking = setting.of(resolved.config)
    settings = suite.load_suite(
        recipe, dataset.task, resolved.tier, options.eval, options.beside, thinking, resolved.mixes_general
    )
    check_config(resolved)
    if options.from_run is not None and resolved.config.get("rl"):
        merge.ensure(find(options.from_run), console)
    check_machine(resolved, cpu_by_name=options.hardware == overlays.CPU)
    for text in trackers.unheard(resolved.config):
        console.note(text)
    for name in ranks.ignored():
        console.note(f"{name} is set but ignored, because a run only takes its settings from the recipe")
    if not machine.gpus() and (few := ranks.threads(machine.facts()["cores"])):
        console.note(few)
    notes: list[str] = []
    rows = prepare_rows(resolved, dataset, requested, notes)
    replay = replay_rows(resolved, len(rows["train"]))
    identity = {**resolved.identity, "tier": resolved.tier, "rows": rows}
    identity |= {"lock": versions.lock_hash(), "axolotl": lanes.axolotl()}  # the lock file covers both lanes
    identity["more_rows"] = more_rows(resolved)
    run = pick(name, digest(identity)[:10], options.new)
    evaluation = evaluation_digest(settings, dataset, resolved.config)
    resolved = replace(resolved, config=fetch(resolved.config, settings, run, evaluation, console))
    with run.locked(), Session(run, options.store, console.note) as session:
        point_latest(run)
        before = run.state()
        if before.get("evaluation") not in (None, evaluation):
            run.forget("evaluate", "compare", "report")
            console.note("evaluation settings changed; re-running the evaluation")
        if run.done("report"):
            console.stage("finished", f"{show(run.folder)}; pass --new (NEW=1) to run it again")
            return run
        if before["stages"]:
            done = ", ".join(stage for stage in before["stages"] if run.done(stage)) or "nothing yet"
            console.note(f"resuming {show(run.folder)} (already done: {done})")
        write_inputs(run, resolved, dataset, settings, evaluation, replay)
        session.begin()
        console.stages = STAGES
        if resolved.tier == "trial" and not options.steps:
            console.if_slow = SHORTER
        if not run.done("train") and (
            expected := _expected(resolved, options, {**rows, "train": rows["train"] + (replay or [])})
        ):
            console.note(expected)
        summary = f"{recipe.file}, tier {resolved.tier}, {_on(resolved)}"
        run.mark("check", "done", time.monotonic() - start)
        console.stage("check", summary, time.monotonic() - start)
        for line in fewer_drawn(rows, resolved, requested or {}):
            console.note(line)
        if not run.done("data"):
            with console.timed(run, "data") as words:
                for split in SPLITS:
                    write_rows(run / "data" / f"{split}.jsonl", rows[split])
                words.append(", ".join(f"{len(rows[split])} {split}" for split in SPLITS) + " rows")
                if replay:
                    words.append(f"and {len(replay)} general conversations for training")
            for note in notes:
                console.note(note)
        if not run.done("train"):
            if resolved.world > 1:
                check_collectives(run, resolved.world, console, session)
            if smoke.wanted(run, resolved, options.smoke):
                smoke.smoke(run, resolved, console, session)
        finish(run, console, session)
    return run


def _expected(resolved: Resolved, options: Options, rows: dict[Split, list[RenderedRow]]) -> str | None:
    """Return how long the run will take: as long as the newest published run of this recipe on a machine with
    the same CPU or GPUs, or else, without a GPU, estimated from the tokens of its rows. None on a GPU, for
    which `tunebook plan` gives the time.
    """
    here = (resolved.tier, machine.full_name(machine.facts()))
    changed = options.set or options.model or options.steps or options.rows
    times = {
        item["run"]["started"]: sum(item["seconds"].values()) / 60
        for item in ([] if changed else published(resolved.recipe.folder / "results"))
        if (item["tier"], machine.full_name(item["hardware"])) == here and not other_base(item)
    }
    if times:
        day = max(times)[:10]
        return f"about {times[max(times)]:.0f} minutes, like the published run of {day} on {here[1]}"
    minutes = None if machine.gpus() else trial.run_minutes(rows, resolved.config)
    if minutes is None:
        return None
    return (
        f"about {max(2, round(minutes))} minutes if nothing else runs on this machine, estimated from the "
        "tokens of the rows"
    )


def finish(run: Run, console: Console, session: Session | None = None) -> None:
    """Run the remaining stages of a prepared run: train, evaluate, compare, report."""
    _train_and_evaluate(run, console, session)
    with console.timed(run, "compare") as words:
        words.append(compare(run))
    with console.timed(run, "report") as words:
        words.append(show(write_report(run)))


def _on(resolved: Resolved) -> str:
    gpus = machine.gpus()
    if gpus:
        return f"{resolved.world} x {gpus[0]['name']}"
    precision = "bf16" if resolved.config.get("bf16") else "fp32"
    return f"{machine.why_no_gpu()}: {Path(resolved.config['base_model']).name} in {precision} on the CPU"


def _train_and_evaluate(run: Run, console: Console, session: Session | None) -> None:
    train, evaluate = not run.done("train"), not run.done("evaluate")
    if train or evaluate:
        run_child(run, train, evaluate, console, session)
    stages = run.state()["stages"]
    history = run.history()
    losses = [entry["loss"] for entry in history.get("log", []) if "loss" in entry]
    fall = f", loss {losses[0]:.2f} to {losses[-1]:.2f}" if losses else ""
    trained = history.get("trained_tokens")
    tokens = "" if trained is None else f", {trained} trained tokens"  # preference tuning counts no tokens
    changed = history.get("changed")
    if changed:
        fall += f", {changed['share']:.0%} of the weights changed after {changed['steps']} steps"
    console.stage(
        "train",
        f"{history.get('steps')} steps{tokens}{fall}",
        stages["train"]["seconds"],
    )
    if supervised := read_supervised(run / "train"):
        console.note(sentence(supervised))
    contenders = ", ".join(run.choice()["contenders"])
    console.stage("evaluate", contenders, stages["evaluate"]["seconds"])


def show_run(run: Run, console: Console) -> int:
    """Show the verdict of a finished run and return its exit code."""
    measured = read_metrics(run / "metrics.json")
    show_verdict(measured, console)
    console.note(f"report: {show(run / 'report.html')}")
    failed = [gate for gate in measured["gates"] if gate["passed"] is False]
    return GATE_FAILED if failed or measured["verdict"] == "worse" else GOOD
