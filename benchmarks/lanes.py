"""Compare finished runs of the same recipes and seeds on both lanes, and fill docs/lanes.md.

    make verify NAME=classify-lora TIER=trial                                   # a run on each lane
    make verify NAME=classify-lora TIER=trial PYTHON=python3.12 VENV=.venv312
    .venv/bin/python -m benchmarks.lanes runs/classify-lora/RUN runs/classify-lora/OTHER ...

Each pair has one recipe, tier and seed. Differences of metrics are taken over the same test rows. The file
keeps pairs of earlier calls.
"""

from __future__ import annotations

import argparse
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.hardware import machine
from tunebook.metrics.schema import read_metrics
from tunebook.report.format import number
from tunebook.report.markdown_blocks import fill
from tunebook.runs.run import Run

TARGET = ROOT / "benchmarks" / "results" / "lanes.json"
PAGE = ROOT / "docs" / "lanes.md"
CLOSE = 1e-3  # relative difference of two losses that count as the same


def measured(folder: Path) -> dict[str, Any]:
    """Return what is compared of a finished run: metrics of the fine-tuned model, losses, minutes, lane."""
    run, found = Run(folder.resolve()), read_metrics(folder / "metrics.json")
    log = run.history()["log"]
    check = read_json(folder / "verify.json")["metrics"] if (folder / "verify.json").is_file() else []
    return {
        "recipe": found["recipe"],
        "tier": found["tier"],
        "seed": found["seed"],
        "rows_sha256": found["rows_sha256"],
        "axolotl": run.manifest()["versions"]["axolotl"],
        "versions": run.manifest()["versions"],
        "tuned": found["contenders"]["tuned"],
        "verdict": found["verdict"],
        "losses": [entry["loss"] for entry in log if "loss" in entry],
        "trained_tokens": found["trained_tokens"],
        "minutes": round(sum(found["seconds"].values()) / 60, 1),
        "outside": [
            f"{line['contender']} {line['metric']}" for line in check if line["result"] in ("below", "above")
        ],
        "judged": sum(line["result"] in ("inside", "below", "above") for line in check),
    }


def pairs(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the runs by recipe, tier and seed, and then by lane.

    Raises:
        SystemExit: a run has no partner on the other lane, or the two have other test rows.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        found.setdefault(f"{run['recipe']} {run['tier']} seed {run['seed']}", {})[run["axolotl"]] = run
    for name, lanes in found.items():
        if len(lanes) != 2 or len({run["rows_sha256"] for run in lanes.values()}) != 1:
            raise SystemExit(f"{name}: needs a run of each lane on the same test rows, has {sorted(lanes)}.")
    return found


def same_steps(one: list[float], two: list[float]) -> int:
    """Return for how many entries of the log, from the first, two losses differ by less than CLOSE."""
    return sum(
        1 for _ in takewhile(lambda ab: abs(ab[0] - ab[1]) < CLOSE * abs(ab[0]), zip(one, two, strict=False))
    )


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the table of metrics in Markdown: one row per metric of each recipe."""
    head = ["recipe", "metric", *(f"Axolotl {lane}" for lane in sorted(next(iter(found.values()))))]
    lines = [[*head, "difference", "95 % interval of the first"]]
    lines.append(["---"] * len(lines[0]))
    for name, lanes in found.items():
        old, new = (lanes[lane] for lane in sorted(lanes))
        for metric, value in old["tuned"].items():
            other = new["tuned"][metric]["value"]
            if value["value"] is None or other is None:
                continue
            texts = [number(metric, one) for one in (value["value"], other)]
            bounds = " to ".join(number(metric, value[end]) for end in ("low", "high"))
            lines.append([name.split()[0], metric, *texts, f"{other - value['value']:+.3f}", bounds])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def sentences(found: dict[str, dict[str, Any]]) -> str:
    """Return what the runs say beside their metrics, one item per recipe."""
    lines = []
    for name, lanes in found.items():
        old, new = (lanes[lane] for lane in sorted(lanes))
        same = same_steps(old["losses"], new["losses"])
        tokens, minutes, outside = (
            " and ".join(str(of(run)) for run in (old, new))
            for of in (
                lambda run: f"{run['trained_tokens']:,}",
                lambda run: run["minutes"],
                lambda run: ", ".join(run["outside"]) or "nothing",
            )
        )
        lines.append(
            f"- {name}: verdicts `{old['verdict']}` and `{new['verdict']}`; {tokens} trained tokens; the "
            f"losses of the first {same} of {len(old['losses'])} logged steps are equal to a thousandth; "
            f"outside the published bounds {outside} of {old['judged']} metrics; {minutes} minutes."
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    found = pairs([measured(folder) for folder in parser.parse_args(argv).runs])
    before = read_json(TARGET)["pairs"] if TARGET.is_file() else {}
    facts = machine.facts()
    where = {name: facts[name] for name in ("cpu", "cores", "memory_gib")}
    whole = {"machine": where, "pairs": dict(sorted((before | found).items()))}
    write_json(TARGET, whole)
    fill(PAGE, "lanes", table(whole["pairs"]) + "\n\n" + sentences(whole["pairs"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
