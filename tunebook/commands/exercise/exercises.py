"""Ten exercises: the task, the command, and a check that looks for the result in the finished runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tunebook.metrics.schema import Metrics
from tunebook.report.format import number
from tunebook.report.names import SVM, TUNED

Check = Callable[[list[Metrics]], str | None]  # the result found, None if there is none yet
EVERY_TASK = 5  # at least this many forgetting tasks with EVAL=full; one without it


class Exercise(NamedTuple):
    """An exercise. `check` gets the metrics of all finished runs, the newest last."""

    title: str
    task: str
    command: str
    check: Check


def score(run: Metrics, who: str = TUNED) -> str:
    metric = run["primary"]
    return number(metric, run["contenders"][who][metric]["value"])


def _on_test(runs: list[Metrics], recipe: str) -> list[Metrics]:
    return [run for run in runs if run["recipe"] == recipe and run["split"] == "test"]


def _first(runs: list[Metrics]) -> str | None:
    found = _on_test(runs, "classify-lora")
    return f"{score(found[-1])} on test, {found[-1]['verdict']}" if found else None


def _against_svm(runs: list[Metrics]) -> str | None:
    found = [run for run in _on_test(runs, "classify-head") if SVM in run["contenders"]]
    return f"head {score(found[-1])}, SVM {score(found[-1], SVM)}" if found else None


def _two(runs: list[Metrics]) -> str | None:
    scores = list(dict.fromkeys(score(run) for run in _on_test(runs, "classify-lora")))
    return f"{len(scores)} different scores: {', '.join(scores)}" if len(scores) > 1 else None


def _seeds(runs: list[Metrics]) -> str | None:
    found = {run["seed"]: score(run) for run in _on_test(runs, "classify-lora")}
    shown = ", ".join(f"seed {seed}: {value}" for seed, value in sorted(found.items()))
    return shown if len(found) > 2 else None


def _forgot(run: Metrics) -> list[str]:
    return [g["name"] for g in run["gates"] if g["name"].startswith("retention_") and g["passed"] is False]


def _broken(runs: list[Metrics]) -> str | None:
    found = [run for run in _on_test(runs, "classify-lora") if run["verdict"] == "better" and _forgot(run)]
    return f"{score(found[-1])}, and failed: {', '.join(_forgot(found[-1]))}" if found else None


def _cured(runs: list[Metrics]) -> str | None:
    found = [
        run
        for run in _on_test(runs, "classify-lora")
        if run["verdict"] == "better" and len(run["retention"]) >= EVERY_TASK and not _forgot(run)
    ]
    return f"{score(found[-1])}, all {len(found[-1]['retention'])} tasks kept" if found else None


def _abstains(runs: list[Metrics]) -> str | None:
    for run in reversed(_on_test(runs, "qa-lora")):
        refused = run["contenders"][TUNED]["no_answer_em"]["value"]
        if refused:
            return f"F1 {score(run)}; refused {number('no_answer_em', refused)} of the unanswerable"
    return None


def _voice(runs: list[Metrics]) -> str | None:
    for run in reversed(_on_test(runs, "chat-lora")):
        for line in run["retention"]:
            if line["task"] == "instructions":
                rules = number("rules", run["contenders"][TUNED]["rules"]["value"])
                return f"style rules met: {rules}; instructions followed: {number('em', line['tuned'])}"
    return None


def _resumed(runs: list[Metrics]) -> str | None:
    for run in reversed(runs):
        stops = run["interruptions"]
        if stops and stops["stopped"] + stops["killed"]:
            return f"{run['recipe']}: {stops['sessions']} sessions, {stops['steps_repeated']} steps repeated"
    return None


def _handed_out(runs: list[Metrics]) -> str | None:
    for run in reversed(runs):
        for file in run.get("exports") or []:
            if file["artefact"].startswith("gguf") and file["passed"]:
                value = number(file["metric"], file["value"])
                return (
                    f"{run['recipe']}: run {number(file['metric'], file['run'])}, {file['artefact']} {value}"
                )
    return None


EXERCISES = (
    Exercise(
        "A verdict",
        "Fine-tune a small model on the CPU. Read the verdict at the end: what is the model better than?",
        "make recipe NAME=classify-lora TIER=trial",
        _first,
    ),
    Exercise(
        "The free classifier",
        "Train a head on the same rows. Which would you ship, the head or the SVM?",
        "make recipe NAME=classify-head TIER=trial",
        _against_svm,
    ),
    Exercise(
        "One setting",
        "Change the rank and nothing else. Is the difference larger than its interval? See `make compare`.",
        'make recipe NAME=classify-lora TIER=trial SET="lora_r=4 lora_alpha=8"',
        _two,
    ),
    Exercise(
        "Luck",
        "Train three seeds of the same recipe. Compare their spread with the difference of exercise 3.",
        "make recipe NAME=classify-lora TIER=trial SEEDS=3",
        _seeds,
    ),
    Exercise(
        "Break it",
        "Train too long, at too high a learning rate and without replay. The score stays: what was lost?",
        'make recipe NAME=classify-lora TIER=trial EVAL=full SET="learning_rate=0.0032 num_epochs=8 '
        'replay=none"',
        _broken,
    ),
    Exercise(
        "Cure it",
        "Pass all gates at the same accuracy: with replay as shipped, or a lower learning rate or rank.",
        "make recipe NAME=classify-lora TIER=trial EVAL=full",
        _cured,
    ),
    Exercise(
        "Quote, or refuse",
        "Answer questions on passages. How many unanswerable ones does the model refuse, at what F1?",
        "make recipe NAME=qa-lora TIER=trial",
        _abstains,
    ),
    Exercise(
        "A voice",
        "Teach a style, and check whether the model still follows other instructions.",
        "make recipe NAME=chat-lora TIER=trial EVAL=full",
        _voice,
    ),
    Exercise(
        "Pull the plug",
        "Stop a training with Ctrl-C or kill -9 after its first checkpoint; then repeat the same command.",
        "make recipe NAME=classify-lora TIER=trial SEED=7",
        _resumed,
    ),
    Exercise(
        "Export it",
        "Export a file for llama.cpp. Does it reach the score of the run?",
        "make export RUN=classify-lora/latest TO=gguf QUANT=q8_0",
        _handed_out,
    ),
)
