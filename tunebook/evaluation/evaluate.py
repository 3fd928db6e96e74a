"""The order of an evaluation: first the baseline, then the fine-tuned model, then everything it is compared
with."""

from __future__ import annotations

from pathlib import Path

from tunebook.core.files import write_json
from tunebook.core.ranks import Ranks
from tunebook.evaluation.chosen_on_dev import choose_baseline, ship_the_best
from tunebook.evaluation.contenders import ENDPOINT, PLAIN, TUNED, TUNED_RANKED, untuned
from tunebook.evaluation.endpoint.client import from_environment
from tunebook.evaluation.endpoint.judge import judge
from tunebook.evaluation.engines.linear_svm import linear_svm
from tunebook.evaluation.evaluator import Evaluator, margins
from tunebook.evaluation.latency import answer_seconds
from tunebook.evaluation.other_models import answer_beside
from tunebook.evaluation.side_effects import measure_side_effects, not_measured
from tunebook.metrics.answers import Answer
from tunebook.runs.run import Run


def evaluate_run(run: Run, events: Path | None, here: Ranks) -> None:
    """Evaluate a trained run; `here` is this process among those that share the work."""
    evaluate(Evaluator.of_run(run, events, here))


def evaluate(evaluator: Evaluator) -> None:
    """Evaluate all contenders and write eval/choice.json. With `EVAL=quick`, only dev is used and forgetting
    is skipped."""
    split = "dev" if evaluator.suite.mode == "quick" else "test"
    baseline, tried = choose_baseline(evaluator)
    plain = untuned(PLAIN)
    reference = margins(evaluator.evaluate(plain, split))
    if baseline != plain:
        evaluator.evaluate(baseline, split, reference)
    names = list(dict.fromkeys([plain.name, baseline.name]))
    measure_side_effects(evaluator, "base")

    checkpoints = ship_the_best(evaluator)
    agreement = evaluator.agreement()
    evaluator.evaluate(TUNED, split, reference)
    latency = answer_seconds(evaluator, split)
    names.append(TUNED.name)
    if evaluator.dataset.labels and not evaluator.models.head:
        evaluator.evaluate(TUNED_RANKED, split)
        names.append(TUNED_RANKED.name)
    measure_side_effects(evaluator, "tuned")

    if evaluator.dataset.labels:
        labels = linear_svm(evaluator.rows["train"], evaluator.rows[split])
        records: list[Answer] = [
            {"id": r["id"], "group": r["group"], "gold": r["gold"]["answer"], "answer": x, "label": x}
            for r, x in zip(evaluator.rows[split], labels, strict=True)
        ]
        evaluator.write(f"svm.{split}", records)
        names.append("svm")
    endpoint = from_environment() if split == "test" and evaluator.here.first else None
    if endpoint:
        evaluator.ask_endpoint(endpoint, split)
        names.append(ENDPOINT)
    beside = answer_beside(evaluator, split)
    names += list(beside)
    choice = {
        "split": split,
        "baseline": baseline.name,
        "contenders": names,
        "tried_on_dev": tried,
        "dev_rows": min(evaluator.suite.dev_rows, len(evaluator.rows["dev"])),
        "shots": evaluator.maker.examples,
        "shots_used": len(evaluator.maker.examples),
        "baseline_prompt": evaluator.dataset.baseline_prompt if baseline.prompting.baseline_prompt else None,
        "token_agreement_unmerged_merged": agreement,
        "latency": latency,
        "checkpoints": checkpoints,
        "beside": beside,
        "not_measured": not_measured(evaluator),
        "precision": evaluator.models.precision,
    }
    if evaluator.here.first:
        write_json(evaluator.run / "eval" / "choice.json", choice)
    if endpoint and evaluator.suite.judge:
        settings = endpoint.model_copy(update={"seed": evaluator.inputs.seed})
        judge(evaluator.run, settings, evaluator.progress("judge"))
