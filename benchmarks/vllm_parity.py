"""Compare the answers and log probabilities of transformers and vLLM for a run's model.

    TUNEBOOK_VLLM=../vllm/bin/vllm .venv/bin/python benchmarks/vllm_parity.py runs/chat-lora/latest --rows 50

Sends the first prompts of RUN's test split to both engines, one after the other. Writes
benchmarks/results/vllm_parity.json. Exits with 1 if fewer than nine tenths of the answers are the same in
their first eight tokens, or if the mean log probability of the reference answers differs by more than 0.02
nats per token.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tunebook.core.errors import InputError, TunebookError
from tunebook.core.files import write_json
from tunebook.core.paths import ROOT, show
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.engines import vllm
from tunebook.evaluation.engines.protocol import common_prefix
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import Job
from tunebook.hardware import machine
from tunebook.runs.run import find

TARGET = ROOT / "benchmarks" / "results" / "vllm_parity.json"
START = 8  # tokens: later ones follow from the first that differs
SAME, APART = 0.9, 0.02


def asked(job: Job, references: list[list[int]], lm: Any) -> tuple[list[Any], list[float]]:
    """Return the generated answer to each context of `job`, and the log probability of its reference."""
    answers: dict[int, Any] = {}
    logprobs: dict[int, float] = {}
    prefix = common_prefix(job.contexts) if len(job.contexts) > 1 else []
    for rows in job.batches():
        contexts = [job.contexts[row] for row in rows]
        answers |= zip(rows, lm.generate(contexts, prefix, job.max_new), strict=True)
        scores = lm.score(contexts, [references[row] for row in rows], prefix)
        logprobs |= zip(rows, scores, strict=True)
    order = range(len(job.ids))
    return [answers[row] for row in order], [logprobs[row] for row in order]


def compared(one: list[Any], other: list[Any]) -> dict[str, Any]:
    """Return how similar the answers (token ids) of two engines are."""
    pairs = [(a.ids, b.ids) for a, b in zip(one, other, strict=True)]
    parts = [
        next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        for a, b in pairs
        if a != b
    ]
    return {
        "same": sum(a == b for a, b in pairs) / len(pairs),
        "same_start": sum(a[:START] == b[:START] for a, b in pairs) / len(pairs),
        "first_difference_at_token": sorted(parts),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--rows", type=int, default=50)
    options = parser.parse_args(argv)
    run = find(options.run)
    evaluator = Evaluator.of_run(run)
    models = evaluator.models
    engine = vllm.engine(evaluator.inputs.config)
    if not engine:
        raise InputError(f"{vllm.COMMAND}: name vLLM's command (docs/vllm.md).")
    rows = evaluator.rows["test"][: options.rows]
    contender = Contender("parity", "tuned")
    job = evaluator.maker.answer(contender, "test", rows)
    references = evaluator.maker.score(contender, "test", rows).answers
    plain = asked(job, references, models.open("tuned", engine=False))
    models.close()
    by_server = asked(job, references, models.open("tuned"))
    models.close()
    tokens = sum(map(len, references))
    apart = [abs(a - b) / len(r) for a, b, r in zip(plain[1], by_server[1], references, strict=True)]
    result = {
        "run": run.folder.name,
        "recipe": run.folder.parent.name,
        "rows": len(rows),
        "engine": engine["vllm"],
        "hardware": machine.facts(),
        "answers": compared(plain[0], by_server[0]),
        "logprob_a_token": {
            "transformers": sum(plain[1]) / tokens,
            "vllm": sum(by_server[1]) / tokens,
            "largest_difference_of_a_row": max(apart),
        },
    }
    write_json(TARGET, result)
    print(f"{result['answers']}\n{result['logprob_a_token']}\n{show(TARGET)}")
    mean = abs(sum(plain[1]) - sum(by_server[1])) / tokens
    return int(result["answers"]["same_start"] < SAME or mean > APART)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except TunebookError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
