"""Compare the time of Tunebook's evaluation with lm-evaluation-harness's command, run for each contender.

    .venv/bin/python benchmarks/harness_time.py runs/classify-lora/latest --rows 40

RUN is a finished run of a classification recipe. Both evaluate the same contenders (the base model with the
plain prompt and with its best prompt, and the fine-tuned model) on the same test rows of RUN, with the same
prompts, token limit, weights and data type. Tunebook loads each model once, computes the common prefix of
prompts once, ranks all labels in one pass and batches by length; its cache of base results is empty. `lm_eval
run` starts again for each contender, with tasks as local YAML. It skips the index of its own thousands of
tasks, which would take seconds, and it runs second, when files are cached. On a busy machine, processor
seconds say more than the time that passed. Writes benchmarks/results/harness_time.json and a paragraph of
docs/ARCHITECTURE.md. Exits with 1 if Tunebook takes more than half the time.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import yaml

from tunebook.core.files import Row, read_json, read_jsonl, write_json, write_jsonl
from tunebook.core.paths import ROOT, child_environment
from tunebook.evaluation.contenders import ENDPOINT, TUNED, Contender, promptings, untuned
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import Job
from tunebook.hardware import machine
from tunebook.report.markdown_blocks import fill
from tunebook.runs.run import Run, find

TARGET = ROOT / "benchmarks" / "results" / "harness_time.json"
DOC = ROOT / "docs" / "ARCHITECTURE.md"
BAR = 0.5
BATCH = 16  # texts at once; the command's own default is 1
PACKAGES = ("torch", "transformers", "peft", "lm_eval")
SELF = [sys.executable, str(Path(__file__).resolve())]


def contenders(evaluator: Evaluator) -> list[Contender]:
    """Return the contenders of a run that use its own base or fine-tuned model."""
    known = {one.name: one for one in (TUNED, *map(untuned, promptings(evaluator.dataset)))}
    choice = read_json(evaluator.run / "eval" / "choice.json")
    others = ("svm", ENDPOINT, *choice.get("beside", {}))
    return [known[name] for name in choice["contenders"] if name not in others]


def copy(run: Run, rows: int | None, folder: Path) -> Run:
    """Return a copy of the run in `folder`, trained but not evaluated, with the first `rows` test rows."""
    for name in ("config.yaml", "settings.json", "data/train.jsonl", "data/dev.jsonl", "eval/choice.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((run / name).read_bytes())
    write_jsonl(folder / "data" / "test.jsonl", read_jsonl(run / "data" / "test.jsonl")[:rows])
    (folder / "model").symlink_to((run / "model").resolve())
    return Run(folder)


def write_task(job: Job, evaluator: Evaluator, folder: Path) -> None:
    """Write `job` as a task of lm-evaluation-harness: NAME.yaml, and NAME.jsonl with its prompts as text."""
    text = evaluator.models.tokenizer.decode
    golds = [row["gold"]["answer"] for row in evaluator.rows["test"]]
    numbers = {label: number for number, label in enumerate(evaluator.dataset.labels)}
    rows = [
        {"context": text(ids), "answer": gold, "number": numbers[gold]}
        for ids, gold in zip(job.contexts, golds, strict=True)
    ]
    file = (folder / f"{job.contender}.jsonl").resolve()
    write_jsonl(file, rows)
    task: dict[str, Any] = {
        "task": job.contender,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "doc_to_text": "{{context}}",
        "target_delimiter": "",
    }
    if job.kind == "rank":
        choices = [text(ids) for ids in job.choices]
        task |= {"output_type": "multiple_choice", "doc_to_choice": choices, "doc_to_target": "number"}
    else:
        stop = {"until": [evaluator.models.tokenizer.eos_token], "max_gen_toks": job.max_new}
        task |= {"output_type": "generate_until", "doc_to_target": "{{answer}}"}
        task["generation_kwargs"] = {**stop, "do_sample": False}
    (folder / f"{job.contender}.yaml").write_text(yaml.safe_dump(task))


def model_arguments(name: str, evaluator: Evaluator, models: Models) -> str:
    """Return `--model_args` for a contender's model: weights, data type and attention of the run."""
    config = evaluator.inputs.config
    folder = str((evaluator.run / "model").resolve())
    said = {"pretrained": config["base_model"], "tokenizer": folder, "dtype": str(models.dtype)[6:]}
    said["attn_implementation"] = models.attention
    if name != "base" and not config.get("adapter"):
        said["pretrained"] = folder
    elif name != "base":
        said["peft"] = folder
        if models.quantised:
            said["load_in_4bit" if config.get("load_in_4bit") else "load_in_8bit"] = True
    return ",".join(f"{key}={value}" for key, value in said.items())


def timed(arguments: list[str], cache: Path) -> dict[str, float]:
    """Run this script again with `arguments`, in a separate process, and return its times."""
    told = {"TUNEBOOK_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache / "huggingface")}
    before, start = os.times(), time.monotonic()
    subprocess.run(
        [*SELF, *arguments],
        check=True,
        cwd=ROOT,
        env=child_environment() | {"PYTHONPATH": str(ROOT)} | told,
        stdout=subprocess.DEVNULL,
    )
    seconds, after = time.monotonic() - start, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])  # user and system time of children
    return {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}


def ours(folder: Path) -> None:
    """Evaluate as the evaluation stage does; runs in the child process."""
    evaluator = Evaluator.of_run(Run(folder))
    for contender in contenders(evaluator):
        evaluator.evaluate(contender, "test")


def theirs(arguments: list[str]) -> None:
    """Run the harness's command without the index of its own tasks; runs in the child process."""
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.tasks import TaskManager

    start = functools.partialmethod(TaskManager.__init__, include_defaults=False)
    TaskManager.__init__ = start  # type: ignore[assignment, method-assign]
    sys.argv = ["lm_eval", "run", *arguments]
    cli_evaluate()


def equal_answers(name: str, evaluator: Evaluator, folder: Path) -> float:
    """Return the share of rows to which both sides gave the same answer."""
    mine = read_jsonl(evaluator.run / "eval" / "answers" / f"{name}.test.jsonl")
    (file,) = folder.rglob(f"samples_{name}_*.jsonl")
    samples = sorted(map(json.loads, file.read_text().splitlines()), key=lambda sample: sample["doc_id"])
    return sum(
        record["answer"] == _answer(sample, evaluator.dataset.labels)
        for record, sample in zip(mine, samples, strict=True)
    ) / len(mine)


def _answer(sample: Row, labels: list[str]) -> str:
    found = sample["filtered_resps"]
    if isinstance(found[0], str):
        return found[0].strip()
    scores = [float(score) for score, _ in found]
    return labels[scores.index(max(scores))]


def measure(run: Run, rows: int | None) -> dict[str, Any]:
    """Evaluate `run` with both and return the times."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        evaluator = Evaluator.of_run(copy(run, rows, folder / "run"))
        compared = contenders(evaluator)
        for place in ("tasks", "answers"):
            (folder / place).mkdir()
        for contender in compared:
            job = evaluator.maker.answer(contender, "test", evaluator.rows["test"])
            write_task(job, evaluator, folder / "tasks")
        mine = timed(["--ours", str(folder / "run")], folder / "cache")
        print("tunebook", mine)
        each = {}
        models = evaluator.models
        assert isinstance(models, Models)
        for contender in compared:
            model, name = model_arguments(contender.model, evaluator, models), contender.name
            arguments = ["--model", "hf", "--model_args", model, "--tasks", name, "--log_samples"]
            arguments += ["--include_path", str(folder / "tasks"), "--output_path", str(folder / "answers")]
            arguments += ["--batch_size", str(BATCH), "--device", models.device]
            each[name] = timed(["--theirs", *arguments], folder / "cache")
            print("lm_eval", name, each[name])
        settings = read_json(run / "settings.json")
        total = {key: round(sum(took[key] for took in each.values()), 1) for key in mine}
        return {
            "recipe": settings["recipe"],
            "tier": settings["tier"],
            "model": Path(settings["base_model"]).name,
            "rows": len(evaluator.rows["test"]),
            "shots": evaluator.suite.shots,
            "labels": len(evaluator.dataset.labels),
            "tunebook": mine,
            "lm_eval": total,
            "lm_eval_each": each,
            "ratio": round(mine["seconds"] / total["seconds"], 3),
            "ratio_of_processor_seconds": round(mine["processor_seconds"] / total["processor_seconds"], 3),
            "equal_answers": {
                one.name: round(equal_answers(one.name, evaluator, folder), 3) for one in compared
            },
        }


def table(measured: dict[str, Any]) -> str:
    """Return the paragraph of docs/ARCHITECTURE.md."""
    same = measured["equal_answers"].values()
    ours, theirs = (measured[side]["seconds"] for side in ("tunebook", "lm_eval"))
    return textwrap.fill(
        f"Measured on {measured['machine']['cores']} cores (`benchmarks/harness_time.py`), "
        f"{len(same)} contenders, "
        f"{measured['rows']} rows of {measured['recipe']}: {ours:.0f} s, against {theirs:.0f} s for "
        f"`lm_eval run` started for each contender: {measured['ratio']:.2f} of its time and "
        f"{measured['ratio_of_processor_seconds']:.2f} of its processor time. "
        f"{min(same):.0%} to {max(same):.0%} of the answers are the same.",
        88,
        break_on_hyphens=False,
    )


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--ours"]:
        ours(Path(arguments[1]))
        return 0
    if arguments[:1] == ["--theirs"]:
        theirs(arguments[1:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", help="<recipe>/latest, <recipe>/<id> or a folder")
    parser.add_argument("--rows", type=int, help="number of test rows, from the first (default: all)")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    options = parser.parse_args(arguments)
    found = measure(find(options.run), options.rows)
    facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib", "gpus", "python")}
    facts["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    head = {"date": time.strftime("%Y-%m-%d"), "machine": facts, "note": options.note, "versions": versions}
    write_json(TARGET, {**head, **found, "bar": BAR})
    fill(DOC, "harness-time", table(read_json(TARGET)))
    print(f"{found['ratio']:.2f} of the command's time on {found['rows']} rows (bar: {BAR})")
    return int(found["ratio"] > BAR)


if __name__ == "__main__":
    raise SystemExit(main())
