"""Measure time and memory of `tunebook check` on many generated rows.

    .venv/bin/python benchmarks/check_rows.py 10000 1000000     # writes benchmarks/results/check_rows.json

Rows are sentences of 8 to 24 words drawn from 20,000 made-up words (Zipf), with 5,000 dev and test rows. The
tokenizer is the trial model's. Memory is the largest resident size of any process. Processor seconds are
those of all processes; on a busy machine they say more than the time that passed. Python's bytecode is
cached, as it is unless PYTHONDONTWRITEBYTECODE is set; the first check after installation takes longer.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tunebook.core.paths import ROOT, child_environment
from tunebook.data.dataset import load_dataset_config
from tunebook.hardware import machine
from tunebook.models import trial_model

DATASET = "kettlewick-intents"  # its schema; its rows are replaced by TUNEBOOK_SOURCES
TARGET = ROOT / "benchmarks" / "results" / "check_rows.json"
VOCABULARY, HELD_OUT = 20_000, 5_000


def write_split(path: Path, split: str, count: int, labels: list[str]) -> None:
    """Write `count` generated rows, always the same."""
    draw = random.Random(split)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(VOCABULARY)]
    weights = [1 / (rank + 10) for rank in range(VOCABULARY)]
    stream = iter(())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(count):
            need = draw.randint(8, 24)
            text = []
            while len(text) < need:
                word = next(stream, None)
                if word is None:
                    stream = iter(draw.choices(words, weights, k=100_000))
                else:
                    text.append(word)
            row = {"id": f"{split}{number}", "customer": f"{split}{number}", "tone": "calm"}
            row |= {"text": " ".join(text), "label": draw.choice(labels)}
            file.write(json.dumps(row) + "\n")


def measure(rows: int) -> dict[str, float | int | str]:
    """Check `rows` train rows in a separate process and return its time and memory."""
    labels = load_dataset_config(DATASET).labels
    with tempfile.TemporaryDirectory() as folder:
        for split, count in (("train", rows), ("dev", HELD_OUT), ("test", HELD_OUT)):
            write_split(Path(folder) / "data" / DATASET / "source" / f"{split}.jsonl", split, count, labels)
        recipe = (ROOT / "recipes" / "classify-lora" / "recipe.yaml").read_text()
        recipe = recipe.replace("datasets/banking77/", f"datasets/{DATASET}/")
        recipe = re.sub("(?m)^base_model: .*", f"base_model: {trial_model.ensure()}", recipe)
        recipe = re.sub("(?m)^chat_template_kwargs: .*", "", recipe)
        (Path(folder) / "recipes" / "many").mkdir(parents=True)
        (Path(folder) / "recipes" / "many" / "recipe.yaml").write_text(recipe)
        told = {"TUNEBOOK_RECIPES": f"{folder}/recipes", "TUNEBOOK_SOURCES": f"{folder}/data"}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [sys.executable, "-m", "tunebook.commands.cli", "check", "many"]
        result = subprocess.run(
            command, cwd=ROOT, env=child_environment() | told, capture_output=True, text=True
        )
        seconds = time.monotonic() - start
    print(result.stdout[-3000:], result.stderr[-1000:])
    stages = {m[1]: float(m[2]) for m in re.finditer(r"(?m)^(rows|axolotl) .* ([\d.]+) s$", result.stdout)}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": rows,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "seconds_rows": stages["rows"],
        "seconds_waiting_for_axolotl": stages["axolotl"],
        "peak_gib": round(used.ru_maxrss / 2**20, 2),
        "exit_code": result.returncode,
    }


def main(argv: list[str] | None = None) -> int:
    counts = sorted(int(word) for word in (argv or sys.argv[1:]) or ["10000"])
    runs = json.loads(TARGET.read_text())["runs"] if TARGET.is_file() else []
    for rows in counts:  # ascending, because the peak is that of all counts so far
        runs = [run for run in runs if run["rows"] != rows] + [measure(rows)]
    facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib")}
    facts["note"] = "niced, with other work on the same two cores"
    whole = {"machine": facts, "runs": sorted(runs, key=lambda run: run["rows"])}
    TARGET.write_text(json.dumps(whole, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
