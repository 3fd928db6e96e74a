"""Try values of one key on the trial tier and keep what they reach on dev; test rows are never asked.

    .venv/bin/python scripts/sweep.py classify-full learning_rate 3e-5 1e-4 3e-4

Runs `tunebook recipe NAME --tier trial --eval quick --set KEY=VALUE` for each value (a finished one is not
run again) and writes recipes/NAME/sweeps/trial-KEY.json: for each value the last dev loss of the
training, the dev metrics of the tuned model, steps and seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tunebook.errors import GATE_FAILED, GOOD
from tunebook.hardware import facts
from tunebook.recipes import load
from tunebook.run import find, read_json, write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("key")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--set", default="", help="further overrides, the same for every value")
    options = parser.parse_args()
    path = load(options.name).folder / "sweeps" / f"trial-{options.key}.json"
    path.parent.mkdir(exist_ok=True)
    found = read_json(path, {"key": options.key, "split": "dev", "hardware": facts(), "values": {}})
    for value in options.values:
        words = f"{options.key}={value} {options.set}".strip()
        command = [sys.executable, "-m", "tunebook.cli", "recipe", options.name, "--tier", "trial"]
        code = subprocess.run([*command, "--eval", "quick", "--set", words]).returncode
        if code not in (GOOD, GATE_FAILED):
            return code
        run = find(f"{options.name}/latest")
        measured, history = read_json(run / "metrics.json"), read_json(run / "train" / "history.json")
        tuned = measured["contenders"]["tuned"]
        found["values"][words] = {
            "eval_loss": [entry["eval_loss"] for entry in history["log"] if "eval_loss" in entry][-1],
            "dev": {name: metric["value"] for name, metric in tuned.items()},
            "rows": measured["rows"],
            "steps": measured["steps"],
            "trained_tokens": measured["trained_tokens"],
            "seconds": measured["seconds"],
        }
        write_json(path, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
