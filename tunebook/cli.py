"""The console entry `tunebook`. Owns exit codes and what an error looks like (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunebook.errors import BAD_INPUT, INTERRUPTED, UNEXPECTED, TunebookError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="a folder in recipes/")]
Set = Annotated[str, typer.Option("--set", help='overrides: "learning_rate=1e-4 lora_r=32"')]
Seed = Annotated[int | None, typer.Option(help="seed of data sampling, first weights and order")]
Steps = Annotated[int | None, typer.Option(min=1, help="stop training after so many optimizer steps")]
Tier = Annotated[Literal["real", "trial"] | None, typer.Option(help="default: real with a GPU")]
Hardware = Annotated[str | None, typer.Option(help="an overlay in hardware/; default: guessed")]
Gpus = Annotated[int | None, typer.Option(min=1, help="how many GPUs to use; default: all")]
Evaluation = Annotated[Literal["quick", "default", "full"], typer.Option("--eval", help="quick: dev only")]


Model = Annotated[str | None, typer.Option(help="another base: a row of tunebook/models.yaml or a folder")]


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
    from_run: Annotated[str | None, typer.Option(help="a run whose adapter to go on from")] = None,
) -> None:
    """Check, prepare, train, evaluate and report one recipe; goes on where it was stopped."""
    from tunebook.console import Console
    from tunebook.recipe import run_recipe
    from tunebook.resolve import Options

    options = Options(tier, hardware, gpus, model, set_, seed, steps, eval_, new, from_run)
    raise typer.Exit(run_recipe(name, options, Console()))


@app.command()
def recipes() -> None:
    """List the recipes: task, method, base model, data, last published result."""
    from tunebook.console import Console
    from tunebook.recipes import table

    Console().table(table())


@app.command()
def check(
    name: Name, set_: Set = "", hardware: Hardware = None, gpus: Gpus = None, model: Model = None
) -> None:
    """Check the real run of a recipe, on any machine: config, rows, Axolotl's validation, the Hub."""
    from tunebook.check import run_check
    from tunebook.console import Console
    from tunebook.resolve import Options

    raise typer.Exit(run_check(name, Options(set=set_, hardware=hardware, gpus=gpus, model=model), Console()))


@app.command()
def data(name: Name) -> None:
    """Render the rows of a recipe's dataset to datasets/<name>/rows/."""
    from tunebook.console import Console
    from tunebook.data import render_rows

    raise typer.Exit(render_rows(name, Console()))


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="<recipe>/latest, <recipe>/<id> or a folder")],
    data: Annotated[Path, typer.Argument(help="rows as the dataset's source: .jsonl, .csv or .parquet")],
    out: Annotated[Path, typer.Argument(help="a new file for the rows with answers: .jsonl or .csv")],
) -> None:
    """Answer the rows of a file with a run's tuned model; goes on where it was stopped."""
    from tunebook.console import Console
    from tunebook.predict import predict as predict_rows

    raise typer.Exit(predict_rows(run, data, out, Console()))


@app.command()
def results(
    run: Annotated[str | None, typer.Argument(help="<recipe>/latest, <recipe>/<id> or a folder")] = None,
) -> None:
    """Publish a run's metrics into its recipe's results/, and fill the cards and the README's table."""
    from tunebook.console import Console
    from tunebook.results import publish

    raise typer.Exit(publish(run, Console()))


def main() -> None:
    """Run the console entry; a person's mistake is one clear message and an exit code."""
    try:
        code = app(standalone_mode=False)
    except TunebookError as error:
        if os.environ.get("DEBUG") == "1":
            traceback.print_exc()
        print(error, file=sys.stderr)
        code = error.code
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
