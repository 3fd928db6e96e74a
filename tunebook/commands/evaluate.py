"""`tunebook evaluate`, `compare` and `results`: commands for models that are already trained."""

from __future__ import annotations

from typing import Annotated

import typer

from tunebook.commands.options import Json, console, takes
from tunebook.config.overrides import Options
from tunebook.core.errors import InputError
from tunebook.core.paths import runs_folder
from tunebook.pipeline.evaluate_model import evaluate_model, evaluate_run
from tunebook.report.leaderboard import compare_runs
from tunebook.report.publish import publish

DEFAULT = Options().eval
Run = Annotated[str | None, typer.Argument(metavar="RUN", help="<recipe>/latest, <recipe>/<id> or a folder")]


@takes("eval", "tier", "beside")
def evaluate_command(
    options: Options,
    run: Run = None,
    model: Annotated[
        str | None, typer.Option(help="a model fine-tuned elsewhere: a folder or a Hub id")
    ] = None,
    task: Annotated[str | None, typer.Option(help="the dataset in datasets/ to evaluate it on")] = None,
    base: Annotated[
        str | None, typer.Option(help="its base model; not needed for an adapter, whose config names it")
    ] = None,
) -> int:
    """Evaluate a run again, or a model fine-tuned elsewhere."""
    if bool(run) == bool(model):
        raise InputError(
            "Name either a run (RUN=), or a model and a dataset: --model and --task (MODEL= TASK=).",
            code="option.run_or_model",
        )
    given = {"TASK": task, "BASE": base, "TIER": options.tier, "BESIDE": options.beside}
    given["EVAL"] = "" if options.eval == DEFAULT else options.eval
    if run and (unused := [name for name, value in given.items() if value]):
        shown = " and ".join(f"--{name.lower()} ({name}=)" for name in unused)
        raise InputError(
            f"{shown} cannot be used with a run, which is evaluated as it was trained. `make recipe` with "
            "its options and another EVAL= or BESIDE= evaluates the finished run again and does not train.",
            code="option.not_for_a_run",
        )
    if run:
        return evaluate_run(run, console())
    if not task:
        raise InputError(
            "--task (TASK=) is missing. Name the dataset in datasets/ to evaluate the model on.",
            code="option.missing_task",
        )
    return evaluate_model(str(model), task, base, options.eval, options.tier, console(), options.beside)


def compare_command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUNS", help="<recipe>/latest, <recipe>/<id> or folders; default: all"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare the fine-tuned models of runs on the same test rows."""
    code = compare_runs(runs or [], console(quiet=as_json))
    if as_json:
        print((runs_folder() / "compare.json").read_text(encoding="utf-8"))
    return code


def results_command(run: Run = None) -> int:
    """Publish a run's metrics in its recipe's folder and README.

    Also fills the tables of the front page.
    """
    return publish(run, console())
