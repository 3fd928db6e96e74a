"""`tunebook compare`: tuned models of several runs side by side, paired on the same test rows.

One verb for two runs and for all of runs/. Runs with other test rows, another split or another primary
metric are never put into one table: named by hand they are refused, found in runs/ they get a table of
their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import Row, read_json, read_jsonl, write_json
from tunebook.core.paths import runs_folder, show
from tunebook.metrics.aggregate import difference
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.report.figures import page, points
from tunebook.report.format import cell, number
from tunebook.report.verdict import word
from tunebook.runs.run import Run, find


@dataclass(frozen=True)
class Entry:
    """A finished run and its numbers."""

    run: Run
    measured: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.measured['recipe']}/{self.run.folder.name}"

    @property
    def rows_hash(self) -> str:
        """The hash of the rows that the numbers were measured on."""
        return self.measured["rows_sha256"]

    @property
    def test(self) -> tuple[str, str, str]:
        """What has to be equal for two runs to be compared."""
        return self.measured["split"], self.measured["primary"], self.rows_hash

    @property
    def seconds(self) -> float:
        return sum(self.measured["seconds"].values())

    def answers(self) -> list[Row]:
        """Return the tuned model's answers."""
        return read_jsonl(self.run / "eval" / "answers" / f"tuned.{self.measured['split']}.jsonl")


def _entry(run: Run) -> Entry:
    measured = read_json(run / "metrics.json")
    if measured is None or not run.done("report"):
        raise InputError(f"RUNS: {show(run.folder)} has not finished.")
    return Entry(run, measured)


def everything() -> list[Entry]:
    """Return every finished run below runs/, without the links called latest."""
    folders = sorted(path.parent for path in runs_folder().glob("*/*/state.json"))
    runs = [Run(folder) for folder in folders if not folder.is_symlink()]
    return [_entry(run) for run in runs if run.done("report") and (run / "metrics.json").is_file()]


def compare_runs(names: list[str], console: Console) -> int:
    """Compare the runs that `names` name, or all; writes runs/compare.json and a picture of score
    against cost for each test set. Returns the exit code.

    Raises:
        InputError: a run that does not exist or has not finished, fewer than two, or runs that were not
            tested on the same rows.
    """
    if names:
        entries = [_entry(run) for run in {find(name).folder: find(name) for name in names}.values()]
        if len(entries) < 2:
            raise InputError(
                'RUNS: name at least two different runs: RUNS="chat-lora/latest chat-full/latest".'
            )
        _refuse_different_tests(entries)
    else:
        entries = everything()
        if not entries:
            raise InputError(f"RUNS: no finished run below {show(runs_folder())}.")
    tables: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        tables[entry.test].append(entry)
    written = []
    for (split, primary, rows_hash), group in sorted(tables.items()):
        found = ranked(group)
        written.append(found)
        where = f"{found['dataset']}, {split}, {found['rows']} rows, by {primary}"
        console.table(rows(found), title=where)
        for line in found["differences"]:
            console.note(line["sentence"])
        path = runs_folder() / f"compare-{found['dataset']}-{split}-{rows_hash[:6]}.html"
        path.write_text(picture(found), encoding="utf-8")
        console.note(f"score against cost: {show(path)}")
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
        else:
            why = "other rows of the same dataset" if other.rows_hash != first.rows_hash else "other metrics"
        raise InputError(
            f"RUNS: {first.name} and {other.name} were tested on {why}. Their numbers cannot be compared; "
            "name runs of one test set, or none to see a table for each."
        )


def ranked(entries: list[Entry]) -> dict[str, Any]:
    """Return the runs of one test set, best first, each compared with the best on the same rows."""
    primary = entries[0].measured["primary"]
    sign = 1 if HIGHER_IS_BETTER[primary] else -1
    ordered = sorted(
        entries, key=lambda e: sign * e.measured["contenders"]["tuned"][primary]["value"], reverse=True
    )
    best = ordered[0]
    differences = []
    for other in ordered[1:]:
        pair = {best.name: best.answers(), other.name: other.answers()}
        found = difference(primary, best.name, other.name, pair)
        if found:
            outcome = {"better": "beats", "worse": "loses to"}.get(word(found), "shows no difference from")
            p = "too few groups" if found["p"] is None else f"p = {found['p']:.4f}"
            by = f"{found['difference']:+.4f}"
            sentence = f"{best.name} {outcome} {other.name} ({primary} {by}, {p})."
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


def _line(entry: Entry, primary: str) -> dict[str, Any]:
    m = entry.measured
    return {
        "run": entry.name,
        "tier": m["tier"],
        "model": m["model"],
        "seed": m["seed"],
        "verdict": m["verdict"],
        "primary": m["contenders"]["tuned"][primary],
        "baseline": m["contenders"][m["baseline"]][primary]["value"],
        "seconds": entry.seconds,
        "peak_memory_gib": m["peak_memory_gib"],
        "latency": (m.get("latency") or {}).get("median"),
        "trained_tokens": m["trained_tokens"],
        "failed_gates": [gate["name"] for gate in m["gates"] if gate["passed"] is False],
    }


def pareto(entries: list[Entry], primary: str, sign: int) -> list[str]:
    """Return the runs that no other run beats in both score and time."""

    def score(entry: Entry) -> float:
        return sign * entry.measured["contenders"]["tuned"][primary]["value"]

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


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def rows(found: dict[str, Any]) -> list[dict[str, str]]:
    """Return one row a run for the console."""
    primary, timed = found["primary"], any(line["latency"] is not None for line in found["runs"])
    return [
        {
            "run": line["run"],
            "tier": line["tier"],
            "seed": str(line["seed"]),
            primary: cell(primary, line["primary"]),
            "best prompt": number(primary, line["baseline"]),
            "verdict": line["verdict"]
            + (f"; failed: {', '.join(line['failed_gates'])}" * bool(line["failed_gates"])),
            "minutes": f"{line['seconds'] / 60:.1f}",
            "GiB": "-" if line["peak_memory_gib"] is None else f"{line['peak_memory_gib']:.1f}",
            **({"ms an answer": _milliseconds(line["latency"])} if timed else {}),
            "pareto": "yes" if line["run"] in found["pareto"] else "",
        }
        for line in found["runs"]
    ]


def picture(found: dict[str, Any]) -> str:
    """Return a self-contained page: score against time, the runs that nobody beats in both joined."""
    primary = found["primary"]
    dots = [
        {
            "x": line["seconds"] / 60,
            "y": line["primary"]["value"],
            "low": line["primary"]["low"],
            "high": line["primary"]["high"],
            "name": line["run"],
        }
        for line in found["runs"]
    ]
    front = sorted((dot for dot in dots if dot["name"] in found["pareto"]), key=lambda dot: dot["x"])
    others = [dot for dot in dots if dot not in front]
    series = {"nobody is better in both": front} | ({"others": others} if others else {})
    title = f"{found['dataset']}: {primary} against minutes of the whole run, training and evaluation"
    return page(title, points(series, "minutes", f"{primary}, 95 % intervals", joined=False, names=True))
