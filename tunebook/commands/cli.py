"""The console entry `tunebook`. Owns exit codes and what an error looks like (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunebook.commands.options import (
    Beside,
    Evaluation,
    FromRun,
    Gpus,
    Hardware,
    Model,
    Name,
    Rows,
    Seed,
    Set,
    Smoke,
    Steps,
    Store,
    Tier,
)
from tunebook.core.errors import BAD_INPUT, INTERRUPTED, UNEXPECTED, TunebookError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def recipe(
    name: Name,
    set_: Set = "",
    seed: Seed = None,
    steps: Steps = None,
    tier: Tier = None,
    hardware: Hardware = None,
    gpus: Gpus = None,
    model: Model = None,
    eval_: Evaluation = "default",
    new: Annotated[bool, typer.Option("--new", help="run again even if finished")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="so many runs, from --seed on, and their spread")] = 1,
    from_run: FromRun = None,
    rows: Rows = "",
    store: Store = None,
    smoke: Smoke = None,
    beside: Beside = "",
) -> None:
    """Check, prepare, train, evaluate and report one recipe; goes on where it was stopped."""
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console
    from tunebook.pipeline.recipe import run_recipe

    options = Options(
        tier, hardware, gpus, model, set_, seed, steps, eval_, new, from_run, rows, store, smoke, beside
    )
    raise typer.Exit(run_recipe(name, options, Console(), seeds))


@app.command()
def recipes() -> None:
    """List the recipes: task, method, base model, data, last published result."""
    from tunebook.core.console import Console
    from tunebook.report.published import recipe_table

    Console().table(recipe_table())


@app.command()
def check(
    name: Name,
    set_: Set = "",
    hardware: Hardware = None,
    gpus: Gpus = None,
    model: Model = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON and nothing else")] = False,
) -> None:
    """Check the real run on any machine: config, rows, tokens, labels, duplicates, secrets, access."""
    from tunebook.check.run import run_check
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    options = Options(set=set_, hardware=hardware, gpus=gpus, model=model)
    raise typer.Exit(run_check(name, options, Console(), json))


@app.command()
def plan(
    name: Name,
    set_: Set = "",
    hardware: Hardware = None,
    model: Model = None,
    gpu: Annotated[str | None, typer.Option(help="a GPU of hardware/facts/gpus.yaml; default: all")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="how many of them; default: 1")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="dollars for one card and hour")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show memory, hours and dollars of a recipe's real run, card by card; needs no GPU and no weights."""
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console
    from tunebook.plan.show import run_plan

    options = Options(set=set_, hardware=hardware, model=model)
    raise typer.Exit(run_plan(name, options, gpu, count, price, as_json, Console()))


@app.command()
def bench(
    name: Name,
    steps: Annotated[int, typer.Option(min=3, help="optimizer steps; the first two do not count")] = 12,
    weights: Annotated[
        Literal["base", "random"], typer.Option(help="random: no download, the same speed and memory")
    ] = "base",
    against: Annotated[Literal["trl"] | None, typer.Option(help="the same by plain TRL, afterwards")] = None,
    label: Annotated[str, typer.Option(help="a word for the result's file name")] = "",
    set_: Set = "",
    tier: Tier = None,
    hardware: Hardware = None,
    gpus: Gpus = None,
    model: Model = None,
) -> None:
    """Measure how fast a recipe trains here, and in how much memory: tokens a second, MFU, peaks."""
    from tunebook.commands.bench import run_bench
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    options = Options(tier, hardware, gpus, model, set_)
    raise typer.Exit(run_bench(name, options, Console(), steps, weights, against, label))


@app.command()
def verify(
    name: Name,
    seed: Seed = None,
    tier: Tier = None,
    hardware: Hardware = None,
    gpus: Gpus = None,
    store: Store = None,
    smoke: Smoke = None,
) -> None:
    """Run a recipe afresh and compare its metrics with the published ones; exit 3 where they differ."""
    from tunebook.commands.verify import verify as run_verify
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    options = Options(tier, hardware, gpus, seed=seed, new=True, store=store, smoke=smoke)
    raise typer.Exit(run_verify(name, options, Console()))


@app.command()
def launch(
    name: Name,
    on: Annotated[Literal["skypilot", "slurm", "kubernetes", "ssh"], typer.Option(help="where to run it")],
    set_: Set = "",
    seed: Seed = None,
    steps: Steps = None,
    hardware: Hardware = None,
    model: Model = None,
    eval_: Evaluation = "default",
    store: Store = None,
    gpu: Annotated[
        str | None, typer.Option(help="a GPU of the plan; default: the cheapest that fits")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="how many of them; default: 1")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="dollars for one card and hour")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="dollars after which the job stops")] = None,
    image: Annotated[str | None, typer.Option(help="kubernetes: the image as pushed")] = None,
    host: Annotated[str | None, typer.Option(help="ssh: user@address")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="print everything, start nothing")] = False,
    smoke: Smoke = None,
) -> None:
    """Start a recipe's real run on rented GPUs, with a price first and a limit to it."""
    from tunebook.commands.launch import Order
    from tunebook.commands.launch import launch as start
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    options = Options("real", hardware, None, model, set_, seed, steps, eval_, store=store, smoke=smoke)
    order = Order(on, gpu, count, price, max_cost, image, host, dry)
    raise typer.Exit(start(name, options, order, Console()))


@app.command()
def fetch(
    run: Annotated[str, typer.Argument(help="<recipe>/latest or <recipe>/<id>")],
    store: Annotated[str, typer.Option(help="where runs are kept: s3://, gs://, az:// or a folder")],
) -> None:
    """Bring a run's report, metrics, model and logs from its store, and say how far it is."""
    from tunebook.commands.fetch import fetch as fetch_run
    from tunebook.core.console import Console

    raise typer.Exit(fetch_run(run, store, Console()))


@app.command()
def data(
    name: Name,
    shown: Annotated[int, typer.Option("--show", min=0, help="show so many rows, token by token")] = 0,
    set_: Set = "",
    tier: Tier = None,
    model: Model = None,
) -> None:
    """Render the rows of a recipe's dataset to datasets/<name>/rows/, and show what the model sees."""
    from tunebook.commands.data import render_rows
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    raise typer.Exit(render_rows(name, Options(tier, model=model, set=set_), shown, Console()))


@app.command()
def sweep(
    name: Name,
    over: Annotated[
        str, typer.Option(help='"learning_rate=1e-4,2e-4 lora_r=8,32", or "rows=50,100,all"')
    ] = "",
    set_: Set = "",
    seed: Seed = None,
    steps: Steps = None,
    tier: Tier = None,
    hardware: Hardware = None,
    gpus: Gpus = None,
    model: Model = None,
    from_run: FromRun = None,
    rows: Rows = "",
    keep: Annotated[bool, typer.Option("--keep", help="also into recipes/<name>/sweeps/")] = False,
) -> None:
    """Run a recipe over values of its keys or sizes of its train split; the best is chosen on dev."""
    from tunebook.commands.sweep import sweep as run_sweep
    from tunebook.config.overrides import Options
    from tunebook.core.console import Console

    options = Options(tier, hardware, gpus, model, set_, seed, steps, "quick", from_run=from_run, rows=rows)
    raise typer.Exit(run_sweep(name, over, options, keep, Console()))


@app.command()
def evaluate(
    run: Annotated[str | None, typer.Argument(help="a trained run, to be evaluated again")] = None,
    model: Annotated[str | None, typer.Option(help="a model tuned elsewhere: a folder or a Hub id")] = None,
    task: Annotated[str | None, typer.Option(help="the dataset in datasets/ to ask it")] = None,
    base: Annotated[
        str | None, typer.Option(help="what it was tuned from; an adapter says so itself")
    ] = None,
    eval_: Evaluation = "default",
    tier: Tier = None,
    beside: Beside = "",
) -> None:
    """Evaluate a run again, or a model that was tuned elsewhere."""
    from tunebook.core.console import Console
    from tunebook.core.errors import InputError
    from tunebook.pipeline.evaluate_model import evaluate_model, evaluate_run

    if bool(run) == bool(model):
        raise InputError("Name either RUN= or MODEL= with TASK=.")
    if run and beside:
        raise InputError("BESIDE goes with MODEL=, or with the `make recipe` of the run.")
    if run:
        raise typer.Exit(evaluate_run(run, Console()))
    if not task:
        raise InputError("TASK is missing: the dataset in datasets/ to ask the model.")
    raise typer.Exit(evaluate_model(str(model), task, base, eval_, tier, Console(), beside))


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(help="<recipe>/latest, <recipe>/<id> or folders")
    ] = None,
) -> None:
    """Compare the tuned models of runs on the same test rows; without names, all of runs/."""
    from tunebook.core.console import Console
    from tunebook.report.leaderboard import compare_runs

    raise typer.Exit(compare_runs(runs or [], Console()))


@app.command()
def fork(
    origin: Annotated[str, typer.Argument(metavar="FROM", help="a recipe, or a plain Axolotl .yaml")],
    name: Annotated[str, typer.Argument(help="what the new recipe and its dataset are called")],
    data: Annotated[str, typer.Argument(help="a file, a folder, owner/name on the Hub, or train=FILE ...")],
    model: Model = None,
    task: Annotated[str, typer.Option(help="classification, qa or chat; default: as FROM")] = "",
    fields: Annotated[str, typer.Option(help='which column is what: "text=body label=topic"')] = "",
    group: Annotated[str, typer.Option(help="the column of rows that belong together; none: no group")] = "",
    time: Annotated[str, typer.Option(help="a column of times: the newest rows become dev and test")] = "",
) -> None:
    """Make a recipe for your own rows from one that is there, and check it."""
    from tunebook.commands.fork.fork import Asked, run_fork
    from tunebook.core.console import Console

    raise typer.Exit(run_fork(Asked(origin, name, data, model, task, fields, group, time), Console()))


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="<recipe>/latest, <recipe>/<id> or a folder")],
    data: Annotated[Path, typer.Argument(help="rows as the dataset's source has them")],
    out: Annotated[Path, typer.Argument(help="a new file for the rows with answers: .jsonl or .csv")],
) -> None:
    """Answer the rows of a file with a run's tuned model; goes on where it was stopped."""
    from tunebook.commands.predict import predict as predict_rows
    from tunebook.core.console import Console

    raise typer.Exit(predict_rows(run, data, out, Console()))


@app.command()
def review(
    run: Annotated[str, typer.Argument(help="<recipe>/latest, <recipe>/<id> or a folder")],
) -> None:
    """Read two answers side by side in the browser, blind; goes on where it was left."""
    from tunebook.commands.review import review as read_blind
    from tunebook.core.console import Console

    raise typer.Exit(read_blind(run, Console()))


@app.command()
def results(
    run: Annotated[str | None, typer.Argument(help="<recipe>/latest, <recipe>/<id> or a folder")] = None,
) -> None:
    """Publish a run's metrics into its recipe's results/, and fill the cards and the README's table."""
    from tunebook.core.console import Console
    from tunebook.report.publish import publish

    raise typer.Exit(publish(run, Console()))


def main() -> None:
    """Run the console entry; a person's mistake is one clear message and an exit code."""
    try:
        code = app(standalone_mode=False)
    except TunebookError as error:
        if os.environ.get("DEBUG") == "1":
            traceback.print_exc()
        print(error, file=sys.stderr)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; the same command goes on from the last saved state", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        code = _unexpected(error)
    sys.exit(code or 0)


def _unexpected(error: Exception) -> int:
    # typer's own usage errors (click's ClickException, vendored or not) know how to show themselves.
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return BAD_INPUT
    if os.environ.get("DEBUG") == "1":
        traceback.print_exc()
    print(f"unexpected: {type(error).__name__}: {error}. DEBUG=1 shows where.", file=sys.stderr)
    return UNEXPECTED


if __name__ == "__main__":
    main()
