"""`tunebook compare`: fine-tuned models of several runs side by side, paired on the same test examples.

One command for two runs or all runs in runs/. Runs with other test examples, another split or another primary
metric never share a table: if named explicitly they are refused, otherwise they get separate tables.
"""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem
from tunebook.core.files import write_json
from tunebook.core.paths import runs_folder, show
from tunebook.core.templates import template_environment
from tunebook.metrics.aggregate import difference
from tunebook.metrics.answers import Answer, read_answer_file
from tunebook.metrics.schema import Comparison, Measured, Metrics, Word, read_metrics
from tunebook.metrics.scoring import HIGHER_IS_BETTER, UNBOUNDED
from tunebook.report import names
from tunebook.report.figures import Dot, points
from tunebook.report.format import cell, number
from tunebook.report.light import Color, outcome, traffic_light
from tunebook.report.turns import evaluated
from tunebook.runs.rehearsal import is_rehearsal
from tunebook.runs.run import Run, find

TEMPLATES = Path(__file__).parent / "templates"


class Difference(Comparison):
    """The best run of a table compared with another run, in numbers and in a sentence."""

    sentence: str


class Line(TypedDict):
    """A run in a table; `seconds` is the time of all stages, `latency` the median seconds per answer."""

    run: str
    tier: str
    model: str
    seed: int
    verdict: Word
    light: Color
    primary: Measured
    baseline: float | None
    seconds: float
    peak_memory_gib: float | None
    latency: float | None
    trained_tokens: int | None
    failed_gates: list[str]


class Ranking(TypedDict):
    """The runs of one test set, best first; `pareto` lists those that no other run beats in both score and
    time."""

    dataset: str
    split: Literal["dev", "test"]
    primary: str
    rows: int
    runs: list[Line]
    differences: list[Difference]
    pareto: list[str]


@dataclass(frozen=True)
class Entry:
    """A finished run and its numbers."""

    run: Run
    measured: Metrics

    @property
    def name(self) -> str:
        return f"{self.measured['recipe']}/{self.run.folder.name}"

    @property
    def rows_hash(self) -> str:
        """The hash of the rows on which the numbers were measured."""
        return self.measured["rows_sha256"]

    @property
    def test(self) -> tuple[str, str, str, str]:
        """What must be equal for two runs to be comparable."""
        return self.measured["split"], self.measured["primary"], self.rows_hash, evaluated(self.measured)

    @property
    def seconds(self) -> float:
        return sum(self.measured["seconds"].values())

    def answers(self) -> list[Answer]:
        """Return the fine-tuned model's answers."""
        return read_answer_file(self.run / "eval" / "answers" / f"tuned.{self.measured['split']}.jsonl")


def _entry(run: Run) -> Entry:
    """Return a finished run whose files can be read.

    Raises:
        InputError: the run has not finished, or one of its files is damaged or of another version.
    """
    try:
        if not run.done("report") or not (run / "metrics.json").is_file():
            problem = Problem("has not finished.", show(run.folder), key="RUNS", code="run.not_finished")
            raise InputError(problem)
        entry = Entry(run, read_metrics(run / "metrics.json"))
        if (got := len(entry.answers())) != entry.measured["rows"]:
            text = (
                f"damaged (answers: {got} of {entry.measured['rows']}). Fetch the folder again, or delete it."
            )
            raise InputError(Problem(text, show(run.folder), code="run.damaged_file"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        text = f"damaged ({type(error).__name__}: {error}). Fetch the run folder again, or delete it."
        problem = Problem(text, show(run.folder), code="run.damaged_file")
        raise InputError(problem) from error
    return entry


def everything() -> tuple[list[Entry], list[Problem]]:
    """Return every finished run in runs/, ignoring rehearsals and the links called latest, and why each
    damaged run is skipped."""
    entries: list[Entry] = []
    left_out: list[Problem] = []
    for path in sorted(runs_folder().glob("*/*/state.json")):
        if path.parent.is_symlink() or is_rehearsal(path.parent):
            continue
        try:
            entries.append(_entry(Run(path.parent)))
        except InputError as error:
            left_out += [problem for problem in error.problems if problem.code != "run.not_finished"]
    return entries, left_out


def compare_runs(run_names: list[str], console: Console) -> int:
    """Compare the runs in `run_names`, or all runs; write runs/compare.json and, for each test set, a page
    with a table and a plot of score against time. Return the exit code.

    When comparing all runs, damaged ones are skipped and named.

    Raises:
        InputError: a run does not exist, has not finished or is damaged; there are fewer than two; or they
            were not tested on the same examples.
    """
    if run_names:
        entries = [_entry(run) for run in {run.folder: run for run in map(find, run_names)}.values()]
        if len(entries) < 2:
            text = 'name at least two different runs: RUNS="chat-lora/latest chat-full/latest".'
            raise InputError(Problem(text, key="RUNS", code="run.too_few"))
        _refuse_different_tests(entries)
    else:
        entries, left_out = everything()
        for problem in left_out:
            console.note(f"skipped: {problem}")
        if not entries:
            text = f"no finished run in {show(runs_folder())}."
            raise InputError(Problem(text, key="RUNS", code="run.none_finished"))
    tables: dict[tuple[str, str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        tables[entry.test].append(entry)
    written = []
    for (split, primary, rows_hash, scored), group in sorted(tables.items()):
        ranking = ranked(group)
        written.append(ranking)
        examples = names.count(ranking["rows"], f"{split} example")
        title = f"{ranking['dataset']}, {examples}, by {names.metric(primary)}, {names.direction(primary)}"
        console.table(rows(ranking), title=title)
        for line in ranking["differences"]:
            console.note(line["sentence"])
        turns = "-all-turns" if scored == "all" else ""
        path = runs_folder() / f"compare-{ranking['dataset']}-{split}-{rows_hash[:6]}{turns}.html"
        path.write_text(compare_page(title, ranking), encoding="utf-8")
        console.note(f"table and picture: {show(path)}")
    write_json(runs_folder() / "compare.json", written)
    return GOOD


def _refuse_different_tests(entries: list[Entry]) -> None:
    first = entries[0]
    for other in entries[1:]:
        if other.test == first.test:
            continue
        if other.measured["dataset"] != first.measured["dataset"]:
            why = f"{first.measured['dataset']} and {other.measured['dataset']}"
        elif other.test[0] != first.test[0]:
            why = f"the splits {first.test[0]} and {other.test[0]}"
        elif other.test[:3] == first.test[:3]:
            why = (
                f"different answers of the conversations (evaluate_turns: {first.test[3]} and "
                f"{other.test[3]})"
            )
        else:
            why = (
                "different rows of the same dataset"
                if other.rows_hash != first.rows_hash
                else "different metrics"
            )
        text = (
            f"{first.name} and {other.name} were tested on {why}. Their numbers are not comparable. Name "
            "runs with the same test set, or no runs to see a table for each test set."
        )
        raise InputError(Problem(text, key="RUNS", code="run.different_tests"))


def ranked(entries: list[Entry]) -> Ranking:
    """Return the runs of one test set, best first, each compared with the best on the same rows."""
    primary = entries[0].measured["primary"]
    sign = 1 if HIGHER_IS_BETTER[primary] else -1
    ordered = sorted(
        entries,
        key=lambda e: sign * (e.measured["contenders"]["tuned"][primary]["value"] or 0.0),
        reverse=True,
    )
    best = ordered[0]
    differences: list[Difference] = []
    for other in ordered[1:]:
        pair = {best.name: best.answers(), other.name: other.answers()}
        found = difference(primary, best.name, other.name, pair)
        if found:
            p = "too few groups for a test" if found["p"] is None else names.p_value(found["p"])
            sides = {"better": "is better than", "worse": "is worse than"}
            verb = sides.get(outcome(found), "shows no difference from")
            seen = names.amount(primary, found["difference"])
            sentence = f"{best.name} {verb} {other.name}: {seen} apart in {names.metric(primary)}, {p}."
            differences.append({**found, "sentence": sentence})
    return {
        "dataset": best.measured["dataset"],
        "split": best.measured["split"],
        "primary": primary,
        "rows": best.measured["rows"],
        "runs": [_line(entry, primary) for entry in ordered],
        "differences": differences,
        "pareto": pareto(ordered, primary, sign),
    }


def _line(entry: Entry, primary: str) -> Line:
    m = entry.measured
    return {
        "run": entry.name,
        "tier": m["tier"],
        "model": m["model"],
        "seed": m["seed"],
        "verdict": m["verdict"],
        "light": traffic_light(m).color,
        "primary": m["contenders"]["tuned"][primary],
        "baseline": m["contenders"][m["baseline"]][primary]["value"],
        "seconds": entry.seconds,
        "peak_memory_gib": m["peak_memory_gib"],
        "latency": m["latency"]["median"] if m["latency"] else None,
        "trained_tokens": m["trained_tokens"],
        "failed_gates": [gate["name"] for gate in m["gates"] if gate["passed"] is False],
    }


def pareto(entries: list[Entry], primary: str, sign: int) -> list[str]:
    """Return the runs that no other run beats in both score and time."""

    def score(entry: Entry) -> float:
        return sign * (entry.measured["contenders"]["tuned"][primary]["value"] or 0.0)

    return [
        one.name
        for one in entries
        if not any(
            score(other) >= score(one)
            and other.seconds <= one.seconds
            and (score(other), -other.seconds) != (score(one), -one.seconds)
            for other in entries
        )
    ]


def rows(ranking: Ranking) -> list[dict[str, str]]:
    """Return one row per run, for the console and the page."""
    primary, timed = ranking["primary"], any(line["latency"] is not None for line in ranking["runs"])
    return [
        {
            "run": line["run"],
            "verdict": line["verdict"]
            + (f"; failed: {', '.join(map(names.gate, line['failed_gates']))}" * bool(line["failed_gates"])),
            names.metric(primary): cell(primary, line["primary"]),
            "best prompt": number(primary, line["baseline"]),
            "minutes": f"{line['seconds'] / 60:.1f}",
            "peak GiB": "-" if line["peak_memory_gib"] is None else f"{line['peak_memory_gib']:.1f}",
            **({"seconds an answer": _seconds(line["latency"])} if timed else {}),
            "best for its time": "yes" if line["run"] in ranking["pareto"] else "",
            "tier": line["tier"],
            "seed": str(line["seed"]),
        }
        for line in ranking["runs"]
    ]


def _seconds(latency: float | None) -> str:
    return "-" if latency is None else f"{latency:.2f}"


def compare_page(title: str, ranking: Ranking) -> str:
    """Return a self-contained page: a table with verdicts and links to the reports, what differs, and a plot
    of score against time that connects the runs no other run beats in both."""
    primary = ranking["primary"]
    dots: list[Dot] = [
        {
            "x": line["seconds"] / 60,
            "y": math.nan if (y := _scaled(primary, line["primary"]["value"])) is None else y,
            "low": _scaled(primary, line["primary"]["low"]),
            "high": _scaled(primary, line["primary"]["high"]),
            "name": line["run"],
        }
        for line in ranking["runs"]
    ]
    front = sorted((dot for dot in dots if dot["name"] in ranking["pareto"]), key=lambda dot: dot["x"])
    others = [dot for dot in dots if dot not in front]
    series = {"best for its time": front} | ({"others": others} if others else {})
    unit = "" if primary in UNBOUNDED else " (%)"
    y_name = "\n".join([*textwrap.wrap(names.metric(primary) + unit, 26), names.direction(primary)])
    picture = points(series, "minutes of the whole run", y_name, joined=False, names=True)
    template = template_environment(TEMPLATES, escape=True).get_template("compare.html.jinja")
    return template.render(
        title=title,
        rows=rows(ranking),
        lights=[line["light"] for line in ranking["runs"]],
        differences=[line["sentence"] for line in ranking["differences"]],
        metric=names.METRICS.get(primary),
        picture=picture,
    )


def _scaled(primary: str, value: float | None) -> float | None:
    return value if value is None or primary in UNBOUNDED else value * 100
