"""Measure few-shot prompting with a growing number of examples: accuracy, prompt length, time of an answer.

    .venv/bin/python benchmarks/growing_k.py [--rows 48]

The base model of the trial tier answers the same test rows of classify-lora with 0, 1, 2, 4 and 8 examples in
the prompt, once by generating text and once by ranking the labels. Prompts, examples and scores are those of
the evaluation stage: the first k of the rows that it would draw from train with the recipe's seed. The rows
are drawn from test with that seed; nothing is chosen on them. The time of an answer is processor time,
because the machine may be busy: the mean over a few rows that are answered one at a time and share no
computation. Writes benchmarks/results/growing_k.json, after each prompt.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Literal, TypedDict

from tunebook.commands import cli
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.core.files import digest, write_json
from tunebook.core.paths import ROOT, show
from tunebook.core.ranks import Ranks
from tunebook.data.dataset import load_dataset_or_stand_in
from tunebook.evaluation import jobs
from tunebook.evaluation.contenders import Contender, Prompting, choose_examples
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.inputs import Inputs
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.suite import load_suite
from tunebook.hardware import machine
from tunebook.metrics.aggregate import measure
from tunebook.metrics.schema import Measured
from tunebook.models import trial_model
from tunebook.runs.rows import RenderedRow, read_rows
from tunebook.runs.run import Run

TARGET = ROOT / "benchmarks" / "results" / "growing_k.json"
RECIPE, SEED = "classify-lora", 42
SHOTS = (0, 1, 2, 4, 8)
METHODS: tuple[Literal["generate", "rank"], ...] = ("generate", "rank")
ROWS, TIMED = 48, 2
PACKAGES = ("torch", "transformers", "lm_eval")


class Line(TypedDict):
    """One prompt, with `shots` examples in it: the mean `prompt_tokens` and the mean `processor_seconds` of
    an answer; `invalid` is the share of answers that name no label (None for ranked labels)."""

    method: Literal["generate", "rank"]
    shots: int
    accuracy: Measured
    invalid: float | None
    prompt_tokens: float
    processor_seconds: float


class Found(TypedDict):
    """The results; `answer_tokens` is the mean length of a label with its end-of-turn token."""

    date: str
    machine: dict[str, object]
    versions: dict[str, str]
    recipe: str
    model: str
    split: str
    rows: int
    groups: int
    rows_sha256: str
    timed_rows: int
    answer_tokens: float
    seconds: float
    lines: list[Line]


def load(folder: Path) -> tuple[Inputs, Models]:
    """Return the inputs of the recipe's evaluation, as a run in `folder` would have them, with as many
    few-shot examples as SHOTS needs, and its models, of which only the base model exists.

    Raises:
        RuntimeError: the rows could not be rendered.
    """
    if cli.run(["data", RECIPE, "--tier", "trial"]):
        raise RuntimeError(f"tunebook data {RECIPE} --tier trial failed.")
    recipe = load_recipe(RECIPE)
    dataset = load_dataset_or_stand_in(recipe.dataset, stand_in=True)
    config = resolve(recipe, Options(tier="trial", hardware="cpu")).config
    suite = load_suite(recipe, dataset.task, "trial", "default")
    rows = {
        split: read_rows(dataset.folder / "rows" / f"{split}.jsonl") for split in ("train", "dev", "test")
    }
    examples = choose_examples(rows["train"], dataset, max(SHOTS), SEED)
    models = Models(config, trial_model.ensure(), Ranks())
    return Inputs(Run(folder), suite, dataset, config, SEED, rows, examples), models


def processor_seconds(job: Job, models: Models) -> float:
    """Return the mean processor time of the answers to the first TIMED rows of `job`, each on its own, after
    one more row to warm up."""
    few = [
        replace(job, ids=job.ids[start:end], contexts=job.contexts[start:end])
        for start, end in ((TIMED, TIMED + 1), (0, TIMED))
    ]
    engine = models.open("base")
    jobs.seconds_alone(few[0], engine)
    start = time.process_time()
    jobs.seconds_alone(few[1], engine)
    return (time.process_time() - start) / TIMED


def line(inputs: Inputs, models: Models, rows: list[RenderedRow], prompting: Prompting, shots: int) -> Line:
    """Let the base model answer `rows` with `shots` examples in the prompt."""
    # The last part of a contender's name says how many examples it has, so that each has files of its own.
    evaluator = Evaluator(replace(inputs, examples=inputs.examples[:shots]), models)
    contender = Contender(f"{prompting.name()}{shots}", "base", prompting)
    job = evaluator.answer_job(contender, "test", rows)
    measured = measure(evaluator.answers(contender, "test", rows), "classification", inputs.dataset.labels)
    return {
        "method": prompting.method,
        "shots": shots,
        "accuracy": measured["accuracy"],
        "invalid": measured["invalid_rate"]["value"],
        "prompt_tokens": round(mean(map(len, job.contexts)), 1),
        "processor_seconds": round(processor_seconds(job, models), 3),
    }


def bench(count: int, target: Path) -> Found:
    """Measure every prompt on `count` test rows, and write the results to `target` after each."""
    start = time.monotonic()
    facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib")}
    with tempfile.TemporaryDirectory() as folder:
        inputs, models = load(Path(folder))
        rows = inputs.sample(inputs.rows["test"], count)
        labels = [models.tokenizer(f"{label}<|im_end|>")["input_ids"] for label in inputs.dataset.labels]
        found: Found = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": {**facts, "threads": os.environ.get("OMP_NUM_THREADS", "all")},
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "recipe": RECIPE,
            "model": trial_model.NAME,
            "split": "test",
            "rows": len(rows),
            "groups": len({row["group"] for row in rows}),
            "rows_sha256": digest([row["id"] for row in rows]),
            "timed_rows": TIMED,
            "answer_tokens": round(mean(map(len, labels)), 1),
            "seconds": 0.0,
            "lines": [],
        }
        for shots in SHOTS:
            for method in METHODS:
                one = line(inputs, models, rows, Prompting(method, shots > 0), shots)
                print(one, flush=True)
                found["lines"].append(one)
                found["seconds"] = round(time.monotonic() - start, 1)
                write_json(target, found)
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="number of test rows (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=TARGET, help="the file to write")
    asked = parser.parse_args(argv)
    bench(asked.rows, asked.to)
    print(show(asked.to))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
