"""`tunebook sweep`: run a recipe over values of its keys, or over sizes of its train split, compared on dev.

Every point is a separate run (EVAL=quick, so test rows are never used), recognized by its id: a stopped sweep
resumes, two sweeps share common points, and the base model is evaluated only once.
"""

from __future__ import annotations

import itertools
import math
import shlex
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import typer

from tunebook.commands.options import Name, takes
from tunebook.commands.options import console as command_console
from tunebook.config.overrides import Options, parse_rows, parse_set, with_set
from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import digest, write_json
from tunebook.core.paths import runs_folder, show
from tunebook.hardware import machine
from tunebook.metrics.schema import Measured, read_metrics
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.pipeline.recipe import execute
from tunebook.report.figures import Dot, page, points
from tunebook.report.format import cell, number
from tunebook.runs.run import Run

ROWS = "rows"  # not a key of Axolotl: the number of train rows, in whole groups; `all` for all rows


class Point(TypedDict):
    """A run of a sweep: the values of its keys, and its results on dev."""

    values: dict[str, str]
    run: str | None
    tier: str
    primary: str
    dev: dict[str, Measured]
    train_rows: int
    eval_loss: float | None
    steps: int | None
    trained_tokens: int | None
    seconds: float
    peak_memory_gib: float | None


class Sweep(TypedDict):
    """sweep.json; `best` is the index of the best point, `over` lists the values tried."""

    recipe: str
    tier: str
    split: str
    primary: str
    over: dict[str, list[str]]
    set: str
    from_run: str | None
    steps: int | None
    seed: int | None
    hardware: dict[str, Any]
    finished: bool
    points: list[Point]
    best: int
    sentence: str


def parse_over(text: str) -> dict[str, list[str]]:
    """Parse `OVER="learning_rate=1e-4,2e-4 lora_r=8,32"` or `OVER="rows=50,100,all"`.

    Raises:
        InputError: a word without values, or a repeated key.
    """
    over: dict[str, list[str]] = {}
    for word in shlex.split(text):
        key, _, values = word.partition("=")
        listed = [value for value in values.split(",") if value]
        if not key or not listed:
            raise InputError(
                f"--over (OVER=): expected key=value,value (got {word!r}).", code="option.bad_over"
            )
        if key in over:
            raise InputError(f"--over (OVER=): {key} occurs twice.", code="option.bad_over")
        bad = [value for value in listed if key == ROWS and value != "all" and not value.isdecimal()]
        if bad:
            raise InputError(
                f"--over (OVER=): rows must be whole numbers or all (got {bad[0]!r}).", code="option.bad_over"
            )
        over[key] = list(dict.fromkeys(listed))
    if not over:
        raise InputError(
            '--over (OVER=) is missing: OVER="learning_rate=1e-4,2e-4 lora_r=8,32".',
            code="option.missing_over",
        )
    return over


def sweep(name: str, over_text: str, options: Options, keep: bool, console: Console) -> int:
    """Run every combination, write sweep.json, .md and .html to runs/<name>/sweeps/, and report the best on
    dev. With `keep`, also write the JSON to recipes/<name>/sweeps/. Return the exit code.

    Raises:
        InputError, MachineError: as for a run of the recipe, or an invalid OVER.
    """
    over = parse_over(over_text)
    if fixed := next((key for key in over if key in parse_set(options.set)), None):
        message = f"--over (OVER=): {fixed} is also set by --set (SET=). Give it in one of the two."
        raise InputError(message, code="option.bad_over")
    recipe = load_recipe(name)
    folder = runs_folder() / name / "sweeps" / digest([over, repr(options)])[:10]
    folder.mkdir(parents=True, exist_ok=True)
    combinations = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    measured: list[Point] = []
    for index, values in enumerate(combinations, 1):
        summary = " ".join(f"{key}={value}" for key, value in values.items())
        console.stage("sweep", f"{index} of {len(combinations)}: {summary}")
        rows = values.get(ROWS)
        chosen = with_set(options, {key: value for key, value in values.items() if key != ROWS})
        chosen = replace(chosen, eval="quick", new=False)
        if rows and rows != "all":
            rest = {k: v for k, v in parse_rows(options.rows).items() if k != "train"}
            chosen = replace(chosen, rows=",".join(f"{k}={v}" for k, v in {**rest, "train": rows}.items()))
        measured.append(_point(execute(name, chosen, console), values))
        found = _summary(name, over, options, measured, len(combinations))
        write_json(folder / "sweep.json", found)
    (folder / "sweep.md").write_text(markdown(found), encoding="utf-8")
    (folder / "sweep.html").write_text(picture(found), encoding="utf-8")
    if keep:
        kept = recipe.folder / "sweeps" / f"{found['tier']}-{'-'.join(over)}.json"
        kept.parent.mkdir(exist_ok=True)
        write_json(kept, {**found, "points": [{**point, "run": None} for point in measured]})
        console.note(f"kept: {show(kept)}")
    console.table(table(found))
    console.stage("best", found["sentence"])
    console.note(f"table and figure: {show(folder / 'sweep.html')}")
    return GOOD


def _point(run: Run, values: dict[str, str]) -> Point:
    measured, history = read_metrics(run / "metrics.json"), run.history()
    losses = [entry["eval_loss"] for entry in history["log"] if "eval_loss" in entry]
    return {
        "values": values,
        "run": show(run.folder),
        "tier": measured["tier"],
        "primary": measured["primary"],
        "dev": measured["contenders"]["tuned"],
        "train_rows": measured["train_rows"],
        "eval_loss": losses[-1] if losses else None,
        "steps": measured["steps"],
        "trained_tokens": measured["trained_tokens"],
        "seconds": sum(measured["seconds"].values()),
        "peak_memory_gib": measured["peak_memory_gib"],
    }


def _summary(
    name: str, over: dict[str, list[str]], options: Options, points: list[Point], planned: int
) -> Sweep:
    primary, tier = points[0]["primary"], points[0]["tier"]
    sign = 1 if HIGHER_IS_BETTER[primary] else -1
    best = max(range(len(points)), key=lambda i: sign * (points[i]["dev"][primary]["value"] or 0.0))
    value = number(primary, points[best]["dev"][primary]["value"])
    summary = " ".join(f"{key}={word}" for key, word in points[best]["values"].items())
    sentence = f"{summary}: {primary} {value} on dev ({tier} tier, {points[best]['dev'][primary]['n']} rows)."
    for key, values in over.items():
        chosen = points[best]["values"][key]
        if key != ROWS and len(values) > 2 and chosen in (values[0], values[-1]):
            sentence += f" {key}={chosen} is at the edge of the range: try values beyond it."
    if list(over) == [ROWS] and len(points) > 1:
        sentence += " " + _more_data(points, primary, sign)
    return {
        "recipe": name,
        "tier": tier,
        "split": "dev",
        "primary": primary,
        "over": over,
        "set": options.set,
        "from_run": options.from_run,
        "steps": options.steps,
        "seed": options.seed,
        "hardware": machine.facts(),
        "finished": len(points) == planned,
        "points": points,
        "best": best,
        "sentence": sentence,
    }


def _more_data(points: list[Point], primary: str, sign: int) -> str:
    """Return whether the curve still rises: the last value is outside the interval of the one before."""
    ordered = sorted(points, key=lambda point: point["train_rows"])
    before, last = (point["dev"][primary] for point in ordered[-2:])
    bound = before["high"] if sign > 0 else before["low"]
    rises = bound is not None and last["value"] is not None and sign * (last["value"] - bound) > 0
    rows = [point["train_rows"] for point in ordered[-2:]]
    if rises:
        return f"From {rows[0]} to {rows[1]} train rows the score still rises, so more data should help."
    return f"From {rows[0]} to {rows[1]} train rows no gain is shown on this dev split."


def table(found: Sweep) -> list[dict[str, str]]:
    """Return one row per point for the console and the Markdown file."""
    rows = []
    for index, point in enumerate(found["points"]):
        row = dict(point["values"])
        row |= {name: cell(name, measure) for name, measure in point["dev"].items()}
        loss = point["eval_loss"]
        row["dev loss"] = "-" if loss is None else f"{loss:.4f}"
        row |= {"train rows": str(point["train_rows"]), "minutes": f"{point['seconds'] / 60:.1f}"}
        row["best"] = "best" if index == found["best"] else ""
        rows.append(row)
    return rows


def markdown(found: Sweep) -> str:
    """Return the sweep as a Markdown table."""
    rows = table(found)
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
    lines += [f"| {' | '.join(row.values())} |" for row in rows]
    return f"# Sweep of {found['recipe']} on dev\n\n{found['sentence']}\n\n" + "\n".join(lines) + "\n"


def picture(found: Sweep) -> str:
    """Return a self-contained page with the primary metric of every point and its interval."""
    primary, keys = found["primary"], list(found["over"])
    series: dict[str, list[Dot]] = {}
    for point in found["points"]:
        rest = " ".join(f"{key}={point['values'][key]}" for key in keys[1:]) or primary
        measure = point["dev"][primary]
        x = point["train_rows"] if keys[0] == ROWS else _as_number(point["values"][keys[0]])
        y = math.nan if measure["value"] is None else measure["value"]
        dot: Dot = {"x": x, "y": y, "low": measure["low"], "high": measure["high"]}
        series.setdefault(rest, []).append(dot)
    x_name = "train rows" if keys[0] == ROWS else keys[0]
    return page(found["sentence"], points(series, x_name, f"{primary} on dev, 95 % intervals"))


def _as_number(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and value > 0 else text


@takes("set", "model", "tier", "hardware", "gpus", "seed", "steps", "rows", "from_run")
def sweep_command(
    name: Name,
    options: Options,
    over: Annotated[
        str, typer.Option(help='"learning_rate=1e-4,2e-4 lora_r=8,32", or "rows=50,100,all"')
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="also write the result to recipes/<name>/sweeps/")
    ] = False,
) -> int:
    """Run a recipe over values of its keys; the best is chosen on dev.

    Values are for keys of the recipe, or for `rows`, the size of the train split.
    """
    return sweep(name, over, replace(options, eval="quick"), keep, command_console())
