"""`tunebook verify`: compare a new run of a recipe with its published numbers.

Published numbers are in recipes/<name>/results/, for the same tier and kind of machine, on the same test
rows. A metric counts as reproduced if it lies

- with several published seeds: in the 95 % prediction interval of one more seed (Student's t on their mean
  and spread), or in their range widened by the run's own interval over rows, whichever reaches further: two
  or three seeds that happen to agree say little about the next one, and where seeds differ more than rows
  do, the range of three alone misses half of all further seeds;
- with one: in its interval over rows.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict

from tunebook.commands.options import Name, takes
from tunebook.commands.options import console as command_console
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import pick_tier
from tunebook.core.console import Console
from tunebook.core.errors import GATE_FAILED, GOOD, InputError
from tunebook.core.files import write_json
from tunebook.core.paths import show
from tunebook.hardware import machine
from tunebook.metrics.schema import Measured, Metrics, read_metrics
from tunebook.metrics.scoring import UNBOUNDED
from tunebook.pipeline.recipe import execute, show_run
from tunebook.report.format import number
from tunebook.report.published import Published, other_base, published
from tunebook.report.turns import evaluated

Same = Literal["split", "primary", "model", "dataset", "rows_sha256"]
SAME: tuple[Same, ...] = ("split", "primary", "model", "dataset", "rows_sha256")
LEVEL = 0.05


class Line(TypedDict):
    """A metric of the new run next to the published values, one per seed. `result` is inside, below, above,
    "not measured" (here, although it is published), or "not judged" (there are no bounds)."""

    contender: str
    metric: str
    published: list[float]
    low: float | None
    high: float | None
    value: float | None
    result: str


def verify(name: str, options: Options, console: Console) -> int:
    """Run recipe `name` again, show its metrics next to the published ones, write verify.json into the run
    folder, and return the exit code: 3 if a metric is out of range.

    Raises:
        InputError: nothing is published for this tier and kind of machine, or only for other test rows.
        TunebookError: as in `execute`.
    """
    folder = load_recipe(name).folder / "results"
    items = comparable(folder, pick_tier(options), machine.kind(machine.facts()))
    run = execute(name, replace(options, new=True), console)
    show_run(run, console)
    measured = read_metrics(run / "metrics.json")
    items = on_same_rows(folder, items, measured)
    lines = judge(measured, items)
    write_json(run / "verify.json", {"seeds": [item["seed"] for item in items], "metrics": lines})
    return _show(name, lines, items, run.manifest()["versions"], console)


def comparable(folder: Path, tier: str, kind: str) -> list[Published]:
    """Return the metrics published in `folder` for a tier and a kind of machine.

    Raises:
        InputError: there are none.
    """
    every = [item for item in published(folder) if not other_base(item)]
    found = [item for item in every if (item["tier"], machine.kind(item["hardware"])) == (tier, kind)]
    if not found:
        name = folder.parent.name
        there = sorted({f"{item['tier']} tier on {machine.kind(item['hardware'])}" for item in every})
        raise InputError(
            f"{show(folder)}: nothing is published for the {tier} tier on {kind} to verify against "
            f"(published: {', '.join(there) or 'nothing'}). `make recipe NAME={name}` and `make results "
            f"RUN={name}/latest` publish this machine's numbers.",
            code="report.nothing_published",
        )
    return found


def on_same_rows(folder: Path, items: list[Published], measured: Metrics) -> list[Published]:
    """Return those of `items` that the run can be compared with.

    Raises:
        InputError: there are none; the message says what differs.
    """
    found = [
        item
        for item in items
        if all(item[key] == measured[key] for key in SAME) and evaluated(item) == evaluated(measured)
    ]
    if not found:
        last = items[-1]
        differ = [f"{key} {last[key]}, here {measured[key]}" for key in SAME if last[key] != measured[key]]
        if evaluated(last) != evaluated(measured):
            differ.append(f"answers judged: {evaluated(last)}, here {evaluated(measured)}")
        raise InputError(
            f"{show(folder)}: published before the recipe or its data changed ({'; '.join(differ)}). "
            "Publish it again with `make results RUN=`.",
            code="report.other_rows",
        )
    return found


def judge(measured: Metrics, items: list[Published]) -> list[Line]:
    """Return a line per metric: all of the fine-tuned model, and the primary metric of the other
    contenders."""
    lines: list[Line] = []
    for contender, measures in items[0]["contenders"].items():
        for metric in measures if contender == "tuned" else [measured["primary"]]:
            found = [item["contenders"].get(contender, {}).get(metric) for item in items]
            by_seed = [one for one in found if one and one["value"] is not None]
            if len(by_seed) < len(items):
                continue
            run = measured["contenders"].get(contender, {}).get(metric)
            value = run["value"] if run else None
            if value is None and contender != "tuned":
                continue  # another seed may have chosen another baseline
            low, high = bounds(by_seed, run)
            if metric not in UNBOUNDED and low is not None and high is not None:
                low, high = max(low, 0.0), min(high, 1.0)  # a share
            lines.append(
                {
                    "contender": contender,
                    "metric": metric,
                    "published": values_of(by_seed),
                    "low": low,
                    "high": high,
                    "value": value,
                    "result": _result(value, low, high),
                }
            )
    return lines


def _result(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not measured"
    if low is None or high is None:
        return "not judged"
    return "below" if value < low else "above" if value > high else "inside"


def values_of(measured: list[Measured]) -> list[float]:
    """Return the values that were measured."""
    return [one["value"] for one in measured if one["value"] is not None]


def bounds(by_seed: list[Measured], run: Measured | None) -> tuple[float | None, float | None]:
    """Return the smallest and the largest value that reproduces the published ones; (None, None) for a single
    value without an interval.

    Args:
        by_seed: the metric of each published seed.
        run: the metric of the new run; None if it was not measured.
    """
    if len(by_seed) == 1:
        return by_seed[0]["low"], by_seed[0]["high"]
    from scipy import stats  # slow to import, and not needed for a refusal

    values = values_of(by_seed)
    count, mean = len(values), statistics.fmean(values)
    reach = float(stats.t.ppf(1 - LEVEL / 2, count - 1))
    reach *= statistics.stdev(values) * math.sqrt(1 + 1 / count)
    above = below = 0.0
    value, low, high = (run["value"], run["low"], run["high"]) if run else (None, None, None)
    if value is not None and low is not None and high is not None:
        above, below = high - value, value - low
    return min(mean - reach, min(values) - above), max(mean + reach, max(values) + below)


def _show(
    name: str,
    lines: list[Line],
    items: list[Published],
    now: dict[str, str],
    console: Console,
) -> int:
    table = []
    for line in lines:
        metric, by_seed = line["metric"], line["published"]
        span = "-"
        if line["low"] is not None:
            span = f"{number(metric, line['low'])} to {number(metric, line['high'])}"
        table.append(
            {
                "contender": line["contender"],
                "metric": metric,
                "published": number(metric, statistics.fmean(by_seed)),
                "range": span,
                "this run": number(metric, line["value"]),
                "": line["result"],
            }
        )
    seeds = ", ".join(str(item["seed"]) for item in items)
    console.table(table, f"{name}: this run and the published seeds {seeds} ({items[0]['tier']} tier)")
    then = items[-1]["run"]["versions"]
    for package in sorted(package for package in then if then[package] != now.get(package)):
        console.note(f"{package}: published with {then[package]}, here {now.get(package)}")
    tier, judged = items[0]["tier"], [line for line in lines if line["result"] != "not judged"]
    wrong = [line for line in judged if line["result"] != "inside"]
    if wrong:
        summary = ", ".join(f"{one['contender']} {one['metric']} {one['result']}" for one in wrong)
        console.stage(
            "verify", f"NOT reproduced ({tier} tier): {len(wrong)} of {len(judged)} metrics: {summary}"
        )
        return GATE_FAILED
    console.stage("verify", f"reproduced ({tier} tier): all {len(judged)} metrics")
    return GOOD


@takes("seed", "tier", "hardware", "gpus", "store", "smoke")
def verify_command(name: Name, options: Options) -> int:
    """Run a recipe again and compare it with its published metrics.

    Exits with 3 if any metric is outside the published range.
    """
    return verify(name, options, command_console())
