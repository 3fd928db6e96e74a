"""Measure a file that is handed out beside the run it was made of; started by `parity.measure_parity`.

python -m tunebook.export.parity_worker RUN ARTEFACT FILE [ADAPTER]
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunebook.core.environment import environment
from tunebook.core.files import write_json
from tunebook.core.process import die_with_parent
from tunebook.core.ranks import Ranks
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.engines.llama_cpp import GgufModels
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.protocol import ModelSource
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import Job, seconds_alone
from tunebook.export.causes import likely_causes
from tunebook.export.parity import FILE, RUN, line_of, path_of, subset
from tunebook.metrics.answers import Answer
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run

TIMED = 10  # rows that each answers alone, against the clock


def measure(run: Run, artefact: str, files: list[Path], events: Path | None) -> None:
    """Answer the same rows with the run's model and with the artefact in `files`, and write its line."""
    ours = Evaluator.of_run(run, events)
    split = "test" if ours.suite.mode != "quick" else "dev"
    rows = subset(ours.rows[split], ours.inputs.seed)
    # The run's own answers: the same jobs for every artefact, so that they are computed once.
    records, logprobs, contexts, seconds = {}, {}, {}, {}
    contender = Contender("parity", "tuned")
    records[RUN], logprobs[RUN], contexts[RUN] = answered(ours, contender, split, rows)
    seconds[RUN] = alone(ours, contender, split, rows)
    ours.models.close()
    theirs = ours.for_models(source_of(run, ours, files, longest(ours, contexts[RUN])), template_of(run))
    contender = replace(contender, name=f"parity_{artefact}")
    records[FILE], logprobs[FILE], contexts[FILE] = answered(theirs, contender, split, rows)
    seconds[FILE] = alone(theirs, contender, split, rows)
    encoded = [ours.maker.encoder.encode(row["messages"], row.get("tools")) for row in rows]
    same = [a == b for a, b in zip(contexts[RUN], contexts[FILE], strict=True)]
    line = line_of(
        artefact,
        weights_hash(run / "model"),
        ours.suite.primary,
        records,
        logprobs,
        [len(one.answer) for one in encoded],
        ours.dataset.labels,
        sum(same) / len(same),
    )
    line["bytes"] = sum(size(path) for path in files)
    line["seconds_run"], line["seconds"] = seconds[RUN], seconds[FILE]
    if not line["passed"]:
        line["causes"] = likely_causes(run, ours, theirs, files, line, logprobs, rows)
    write_json(path_of(run, artefact), dict(line))


def answered(
    evaluator: Evaluator, contender: Contender, split: str, rows: list[RenderedRow]
) -> tuple[list[Answer], list[float], list[list[int]]]:
    """Return for each row its record, the log probability of its reference answer (nats) and its prompt."""
    job = evaluator.maker.score(contender, split, rows)
    logprobs = [record["logprob"] for record in evaluator.records(job, contender.model)]
    records = evaluator.answers(contender, split, rows)
    if evaluator.inputs.chat:
        losses = evaluator.losses(contender, split, rows)
        records = [{**loss, **record} for loss, record in zip(losses, records, strict=True)]
    return records, logprobs, job.contexts


def alone(evaluator: Evaluator, contender: Contender, split: str, rows: list[RenderedRow]) -> float:
    """Return the median of the seconds that TIMED rows take one at a time, after one that does not count."""
    job: Job = evaluator.answer_job(contender, split, rows[: TIMED + 1])
    return round(statistics.median(seconds_alone(job, evaluator.models.open(contender.model))[1:]), 4)


def longest(evaluator: Evaluator, contexts: list[list[int]]) -> int:
    """Return the positions that the longest prompt takes with its answer, and some room."""
    answers = max(len(row["gold"]["answer"].encode()) for split in evaluator.rows.values() for row in split)
    return max(map(len, contexts)) + max(evaluator.suite.max_new_tokens, answers) + 64


def source_of(run: Run, ours: Evaluator, files: list[Path], positions: int) -> ModelSource:
    """Return what opens the artefact: a folder of full weights, a GGUF file, or a base and its adapter."""
    if files[0].suffix == ".gguf":
        return GgufModels(files[0], ours.models.tokenizer, positions, *files[1:])
    config = {
        key: value for key, value in ours.inputs.config.items() if key in ("bf16", "attn_implementation")
    }
    return Models({**config, "base_model": str(files[0])}, files[0], Ranks())


def template_of(run: Run) -> dict[str, Any] | None:
    return run.config().get("chat_template_kwargs")


def size(path: Path) -> int:
    """Return the bytes of a file, or of the weights in a folder."""
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    die_with_parent()
    measure(Run(Path(sys.argv[1])), sys.argv[2], [Path(word) for word in sys.argv[3:]], environment().events)
