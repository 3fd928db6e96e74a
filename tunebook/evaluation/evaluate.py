"""The order of an evaluation: baseline first, then the fine-tuned model, then everything beside it."""

from __future__ import annotations

from tunebook.core.files import write_json
from tunebook.evaluation.best_checkpoint import ship_the_best
from tunebook.evaluation.contenders import ENDPOINT, PLAIN
from tunebook.evaluation.endpoint.client import from_environment
from tunebook.evaluation.endpoint.judge import judge
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.latency import answer_seconds
from tunebook.evaluation.linear_svm import linear_svm
from tunebook.evaluation.other_models import answer_beside
from tunebook.evaluation.side_effects import ask_side_effects, unasked


def evaluate(evaluator: Evaluator) -> None:
    """Run all contenders. `EVAL=quick` stays on dev and skips retention."""
    split = "dev" if evaluator.suite.mode == "quick" else "test"
    best, tried = evaluator.choose_baseline()
    names = []
    for way in dict.fromkeys([PLAIN, best]):
        evaluator.contender(way.name, split, way, "base")
        names.append(way.name)
    ask_side_effects(evaluator, "base")
    checkpoints = ship_the_best(evaluator)
    agreement = evaluator.agreement()
    evaluator.contender("tuned", split, PLAIN, "tuned")
    latency = answer_seconds(evaluator, split)
    ask_side_effects(evaluator, "tuned")
    names.append("tuned")
    if evaluator.dataset.labels:
        labels = linear_svm(evaluator.rows["train"], evaluator.rows[split])
        records = [
            {"id": r["id"], "group": r["group"], "gold": r["gold"]["answer"], "answer": x, "label": x}
            for r, x in zip(evaluator.rows[split], labels, strict=True)
        ]
        evaluator.write(f"svm.{split}", records)
        names.append("svm")
    named = from_environment() if split == "test" and evaluator.here.first else None
    if named:
        evaluator.ask_endpoint(named, split)
        names.append(ENDPOINT)
    beside = answer_beside(evaluator, split)
    names += list(beside)
    choice = {
        "split": split,
        "baseline": best.name,
        "contenders": names,
        "tried_on_dev": tried,
        "dev_rows": min(evaluator.suite.dev_rows, len(evaluator.rows["dev"])),
        "shots": evaluator.maker.shots,
        "baseline_prompt": evaluator.dataset.baseline_prompt if best.prompted else None,
        "token_agreement_unmerged_merged": agreement,
        "latency": latency,
        "checkpoints": checkpoints,
        "beside": beside,
        "not_measured": unasked(evaluator),
    }
    if evaluator.here.first:
        write_json(evaluator.run / "eval" / "choice.json", choice)
    if named and evaluator.suite.judge:
        judge(evaluator.run, named.model_copy(update={"seed": evaluator.seed}), evaluator.progress("judge"))
