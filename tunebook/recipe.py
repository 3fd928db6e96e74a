"""`tunebook recipe`: resolve, check, data, smoke test, train, evaluate, compare, report."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tunebook import base_model, check, hardware, head, manifest, merged, served, smoke, suite
from tunebook.collectives import check_collectives
from tunebook.console import Console
from tunebook.dataset import Dataset, Row, write_rows
from tunebook.dataset import load as load_dataset
from tunebook.endpoint import from_environment
from tunebook.errors import GATE_FAILED, GOOD, InputError
from tunebook.keeper import Keeper
from tunebook.paths import ROOT, runs_folder, show
from tunebook.recipes import load
from tunebook.render import render_all
from tunebook.report import show_verdict, write_report
from tunebook.resolve import Options, Resolved, digest, parse_rows, pick_tier, resolve
from tunebook.run import Run, find, pick, point_latest, read_json, write_json
from tunebook.sampling import sample_groups
from tunebook.sources import SPLITS, Split
from tunebook.train import run_child

SAMPLE_SEED = 42


def prepare_rows(
    resolved: Resolved, dataset: Dataset, asked: dict[str, int] | None = None
) -> dict[Split, list[Row]]:
    """Render every split and draw the rows that trial.yaml names on the trial tier, or fewer where
    `asked` says so; those of dev and test are the same for every seed of a run."""
    rows = render_all(dataset)
    counts: dict[str, int] = dict(resolved.recipe.rows) if resolved.tier == "trial" else {}
    seed = resolved.config.get("seed", 42)
    for split in SPLITS:
        count = min(counts.get(split, len(rows[split])), (asked or {}).get(split, len(rows[split])))
        drawn_by = seed if split == "train" else SAMPLE_SEED
        rows[split] = sample_groups(rows[split], count, drawn_by, stratify=bool(dataset.labels))
    return rows


def place_paths(config: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return `config` with its data and output paths inside the run folder."""
    placed = dict(config)
    placed["datasets"] = [
        {**config["datasets"][0], "path": str(run / "data" / "train.jsonl"), "ds_type": "json"},
        *config["datasets"][1:],
    ]
    if config.get("test_datasets"):
        placed["test_datasets"] = [
            {**config["test_datasets"][0], "path": str(run / "data" / "dev.jsonl"), "ds_type": "json"},
            *config["test_datasets"][1:],
        ]
    placed["output_dir"] = str(run / "train")
    placed["dataset_prepared_path"] = str(run / "train" / "prepared")
    return placed


def run_recipe(name: str, options: Options, console: Console, seeds: int = 1) -> int:
    """Run the recipe `name` from where it stands, show its verdict and return the exit code; raises what
    `execute` raises. With several `seeds`, one run after the other and a summary, runs/<name>/seeds.json."""
    if seeds == 1:
        return show_run(execute(name, options, console), console)
    from tunebook.seeds import across_seeds

    first = load(name).config.get("seed", SAMPLE_SEED) if options.seed is None else options.seed
    runs = [execute(name, replace(options, seed=first + i), console) for i in range(seeds)]
    codes = [show_run(run, console) for run in runs]
    found = across_seeds([read_json(run / "metrics.json") for run in runs])
    write_json(runs_folder() / name / "seeds.json", found)
    console.stage("seeds", found["sentence"])
    return max(codes)


def execute(name: str, options: Options, console: Console) -> Run:
    """Run the recipe `name` from where it stands and return its finished run.

    Raises:
        InputError, MachineError: before anything is written, where the input or machine is at fault.
    """
    start = time.monotonic()
    recipe, asked = load(name), parse_rows(options.rows)
    if pick_tier(options) == "trial" and not (base_model.folder() / "tunebook.json").is_file():
        console.stage("set-up", f"converting the trial base model {base_model.NAME} (once, about a minute)")
        base_model.ensure()
    resolved = resolve(recipe, options)
    dataset = load_dataset(recipe.dataset)
    if resolved.tier == "trial" and dataset.stand_in:
        dataset = load_dataset(dataset.stand_in)
    resolved = head.with_labels(resolved, dataset)
    settings = suite.load(recipe, dataset.task, resolved.tier, options.eval, options.beside)
    check.check_config(resolved)
    if options.from_run is not None and resolved.config.get("rl"):
        merged.ensure(find(options.from_run), console)
    check.check_machine(resolved)
    rows = prepare_rows(resolved, dataset, asked)
    identity = {**resolved.identity, "tier": resolved.tier, "lock": manifest.lock_hash(), "rows": rows}
    identity["more_rows"] = _more_rows(resolved.config)
    run = pick(name, digest(identity)[:10], options.new)
    evaluation = evaluation_digest(settings, dataset, resolved.config)
    with run.locked(), Keeper(run, options.store, console.note) as keeper:
        point_latest(run)
        before = run.state()
        if before.get("evaluation") not in (None, evaluation):
            run.forget("evaluate", "compare", "report")
            console.note("the evaluation settings changed: evaluating again")
        if run.done("report"):
            console.stage("finished", f"{show(run.folder)}; NEW=1 runs it once more")
            return run
        if before["stages"]:
            done = ", ".join(stage for stage in before["stages"] if run.done(stage)) or "nothing yet"
            console.note(f"going on with {show(run.folder)}; done before: {done}")
        write_inputs(run, resolved, dataset, settings, evaluation)
        keeper.begin()
        said = f"{recipe.file}, tier {resolved.tier}, {_on(resolved)}"
        run.mark("check", "done", time.monotonic() - start)
        console.stage("check", said, time.monotonic() - start)
        if not run.done("data"):
            with console.timed(run, "data") as words:
                for split in SPLITS:
                    write_rows(run / "data" / f"{split}.jsonl", rows[split])
                words.append(", ".join(f"{len(rows[split])} {split}" for split in SPLITS) + " rows")
        if not run.done("train"):
            if resolved.world > 1:
                check_collectives(run, resolved.world, console, keeper)
            if smoke.wanted(run, resolved, options.smoke):
                smoke.smoke(run, resolved, console, keeper)
        finish(run, console, keeper)
    return run


def finish(run: Run, console: Console, keeper: Keeper | None = None) -> None:
    """Run what is left of a prepared run: train, evaluate, compare, report."""
    from tunebook.compare import compare  # scipy.stats is slow to import; a refusal needs none of it

    _train_and_evaluate(run, console, keeper)
    with console.timed(run, "compare") as words:
        words.append(compare(run))
    with console.timed(run, "report") as words:
        words.append(show(write_report(run)))


def _more_rows(config: dict[str, Any]) -> dict[str, str]:
    """Return the hash of every further local file under `datasets:`, which is trained on as it is."""
    paths = [ROOT / str(entry.get("path")) for entry in config["datasets"][1:]]
    return {show(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def evaluation_digest(settings: suite.Suite, dataset: Dataset, config: dict[str, Any]) -> str:
    """Return the hash of what decides an evaluation beside the model and the rows; raises what
    `_endpoint` and `served.engine` raise."""
    asked = dataset.model_dump(include={"rules", "labels", "baseline_prompt"}, mode="json")
    others = _endpoint(settings, dataset) | served.engine(config)
    return digest({"suite": settings.model_dump(), "dataset": asked, **others})


def _endpoint(settings: suite.Suite, dataset: Dataset) -> dict[str, Any]:
    """Return which endpoint takes part, {} for none.

    Raises:
        InputError: its variables are wrong, a judge is asked for and there is none, or rows offer tools.
    """
    named = from_environment()
    if settings.judge and not named:
        raise InputError("TUNEBOOK_ENDPOINT: the judge needs an endpoint (docs/endpoints.md); none is named.")
    if settings.mode == "quick" or not named:
        return {}
    if dataset.tools:
        raise InputError(
            f"TUNEBOOK_ENDPOINT: rows of {dataset.name} offer tools, which no endpoint is sent. Unset it."
        )
    return {"endpoint": named.model_dump(include={"address", "model"})}


def _on(resolved: Resolved) -> str:
    gpus = hardware.gpus()
    if gpus:
        return f"{resolved.world} x {gpus[0]['name']}"
    precision = "bf16" if resolved.config.get("bf16") else "fp32"
    return f"no GPU found: {Path(resolved.config['base_model']).name} in {precision} on the CPU"


def write_inputs(
    run: Run, resolved: Resolved, dataset: Dataset, settings: suite.Suite, evaluation: str
) -> None:
    config = place_paths(resolved.config, run)
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_json(
        run / "settings.json",
        {
            "recipe": resolved.recipe.name,
            "tier": resolved.tier,
            "seed": resolved.config.get("seed", 42),
            "base_model": resolved.config["base_model"],
            "hardware": resolved.hardware,
            "world": resolved.world,
            "dataset": dataset.model_dump(mode="json", exclude={"folder"}),
            "suite": settings.model_dump(),
        },
    )
    state = run.state()
    write_json(run / "state.json", {**state, "evaluation": evaluation})
    command = "tunebook " + shlex.join(sys.argv[1:])
    write_json(run / "manifest.json", manifest.build(resolved, dataset, command))


def _train_and_evaluate(run: Run, console: Console, keeper: Keeper | None) -> None:
    train, evaluate = not run.done("train"), not run.done("evaluate")
    if train or evaluate:
        run_child(run, train, evaluate, console, keeper)
    stages = run.state()["stages"]
    history = read_json(run / "train" / "history.json", {})
    losses = [entry["loss"] for entry in history.get("log", []) if "loss" in entry]
    fall = f", loss {losses[0]:.2f} to {losses[-1]:.2f}" if losses else ""
    trained = history.get("trained_tokens")
    tokens = "" if trained is None else f", {trained} trained tokens"  # preference tuning counts none
    changed = history.get("changed")
    if changed:
        fall += f", {changed['share']:.0%} of the weights changed after {changed['steps']} steps"
    console.stage(
        "train",
        f"{history.get('steps')} steps{tokens}{fall}",
        stages["train"]["seconds"],
    )
    contenders = ", ".join(read_json(run / "eval" / "choice.json")["contenders"])
    console.stage("evaluate", contenders, stages["evaluate"]["seconds"])


def show_run(run: Run, console: Console) -> int:
    """Show the verdict of a finished run and return its exit code."""
    measured = read_json(run / "metrics.json")
    show_verdict(measured, console)
    console.note(f"report: {show(run / 'report.html')}")
    failed = [gate for gate in measured["gates"] if gate["passed"] is False]
    return GATE_FAILED if failed or measured["verdict"] == "worse" else GOOD
