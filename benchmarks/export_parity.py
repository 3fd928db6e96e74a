"""Compare the scores of exported files with those of their runs: the table of docs/after-training.md.

    .venv/bin/python benchmarks/export_parity.py chat-lora/latest qa-full/latest ...

Reads the scores that `make merge` and `make export` added to each run's metrics.json and, for a merged 4-bit
run, the dev scores of both ways to merge it. Writes them into benchmarks/results/export_parity.json, in which
runs of other recipes are kept, and the table.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.export.merge import MADE_OF, WAYS
from tunebook.hardware import machine
from tunebook.metrics.schema import read_metrics
from tunebook.models import llama_cpp
from tunebook.report import names, parity
from tunebook.report.format import number
from tunebook.report.markdown_blocks import fill
from tunebook.runs.run import MERGED, find

TARGET = ROOT / "benchmarks" / "results" / "export_parity.json"
DOC = ROOT / "docs" / "after-training.md"


def of_run(name: str) -> dict[str, Any]:
    """Return the scores of the exported files of a run.

    Raises:
        InputError: there are none.
    """
    run = find(name)
    measured = read_metrics(run / "metrics.json")
    if "exports" not in measured:
        raise InputError(f"{name}: no exported file has a score. Run make merge or make export first.")
    return {
        "recipe": measured["recipe"],
        "tier": measured["tier"],
        "seed": measured["seed"],
        "model": measured["model"],
        "steps": measured["steps"],
        "merge": read_json(run / MERGED / MADE_OF, {}),
        "exports": measured["exports"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the block of docs/after-training.md: a row per file, and a line per merged 4-bit run."""
    rows, merges = [], []
    for run in found["runs"]:
        for line in run["exports"]:
            shown = parity.rows([line])[0]
            metric = names.metric(line["metric"])
            row = {"recipe": run["recipe"], "file": shown.pop("file"), "metric": metric}
            rows.append({**row, "of the file": shown.pop(metric), **shown})
        if "dev" in run["merge"]:
            metric, dev = run["merge"]["metric"], run["merge"]["dev"]
            each = ", ".join(f"{name} {number(metric, dev[name])}" for name in ("run", *WAYS))
            kept = run["merge"]["way"]
            merges.append(f"{run['recipe']}, {names.metric(metric)} on dev: {each}. Kept: {kept}.")
    return "\n\n".join([markdown_table(rows).strip(), *merges])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", help="<recipe>/latest, <recipe>/<id> or a folder")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    options = parser.parse_args(argv)
    facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib", "gpus", "python")}
    head = {"date": time.strftime("%Y-%m-%d"), "machine": facts, "note": options.note}
    head["llama.cpp"] = llama_cpp.VERSION
    runs = {run["recipe"]: run for run in read_json(TARGET, {"runs": []})["runs"]}
    for name in options.runs:
        run = of_run(name)
        runs[run["recipe"]] = head | run
    write_json(TARGET, {"runs": list(runs.values())})
    fill(DOC, "parity", table(read_json(TARGET)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
