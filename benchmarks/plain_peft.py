"""Train classify-lora's trial rows with scripts/plain_peft.py, and compare its accuracy with the recipe's.

    .venv/bin/python benchmarks/plain_peft.py     # writes benchmarks/results/plain_peft.json

Both answer the same test rows. The recipe's run is the published one with the recipe's own seed; it also
trains on general conversations (replay) and ships the better of its last two checkpoints on dev.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tunebook.commands import cli
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT, child_environment
from tunebook.hardware import machine
from tunebook.models import trial_model

TARGET = ROOT / "benchmarks" / "results" / "plain_peft.json"
SCRIPT = ROOT / "scripts" / "plain_peft.py"
ROWS = ROOT / "datasets" / "kettlewick-intents" / "rows"


def published() -> tuple[Path, dict[str, Any]]:
    """Return the file of the recipe's published trial run, and its measured accuracy with its interval."""
    path = sorted((ROOT / "recipes" / "classify-lora" / "results").glob("trial-*-seed42.json"))[-1]
    accuracy: dict[str, Any] = read_json(path)["contenders"]["tuned"]["accuracy"]
    return path, accuracy


def measure() -> dict[str, Any]:
    """Run the script as its docstring says, and return its accuracy next to the recipe's.

    Raises:
        RuntimeError: the rows were not rendered, the script failed, or it answered another number of rows.
    """
    if cli.run(["data", "classify-lora", "--tier", "trial"]):
        raise RuntimeError("tunebook data classify-lora --tier trial failed.")
    path, recipe = published()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), str(trial_model.ensure()), str(ROWS), out],
            cwd=ROOT,
            env=child_environment(),
            capture_output=True,
            text=True,
        )
    if ended.returncode:
        raise RuntimeError(ended.stderr[-2000:])
    plain = json.loads(ended.stdout.strip().splitlines()[-1])
    if plain["rows"] != recipe["n"]:
        raise RuntimeError(f"{SCRIPT.name} answered {plain['rows']} rows, the recipe's run {recipe['n']}.")
    facts = machine.facts()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {key: facts[key] for key in ("cpu", "cores", "memory_gib")},
        "seconds": round(time.monotonic() - start, 1),
        "rows": plain["rows"],
        "plain": {"accuracy": plain["accuracy"]},
        "recipe": {
            "accuracy": recipe["value"],
            "low": recipe["low"],
            "high": recipe["high"],
            "file": path.relative_to(ROOT).as_posix(),
        },
    }


def reaches(measured: dict[str, Any]) -> bool:
    """Return whether the script's accuracy is at least the lower end of the recipe's 95 % interval."""
    return bool(measured["plain"]["accuracy"] >= measured["recipe"]["low"])


def main(argv: list[str] | None = None) -> int:
    """Write the result, and return 3 if the script does not reach the recipe's score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--to", type=Path, default=TARGET, help="the file to write")
    asked = parser.parse_args(argv)
    measured = measure()
    write_json(asked.to, measured)
    print(json.dumps(measured, indent=2))
    return 0 if reaches(measured) else 3


if __name__ == "__main__":
    raise SystemExit(main())
