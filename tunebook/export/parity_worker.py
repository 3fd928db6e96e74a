"""Measure an exported file against its run; started by `parity.measure_parity`.

python -m tunebook.export.parity_worker RUN ARTEFACT FILE [ADAPTER]
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tunebook.core.environment import environment
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.core.process import begin_worker
from tunebook.core.ranks import Ranks
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.engines.llama_cpp import GgufModels
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.protocol import ModelSource
from tunebook.evaluation.evaluator import Evaluator
from tunebook.evaluation.jobs import seconds_alone
from tunebook.export.causes import likely_causes, other_prompts, template_cause
from tunebook.export.parity import FILE, RUN, blank_line, line_of, path_of, subset
from tunebook.metrics.answers import Answer
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run

TIMED = 10  # rows answered one at a time to measure latency


def measure(run: Run, artefact: str, files: list[Path], events: Path | None) -> None:
    """Answer the same rows with the run's model and with the artefact in `files`, and write its line."""
    ours = Evaluator.of_run(run, events)
    split = "test" if ours.suite.mode != "quick" else "dev"
    rows = subset(ours.rows[split], ours.inputs.seed)
    # The run's own answers are the same jobs for every artefact, so they are computed only once.
    contender = Contender("parity", "tuned")
    before = answered(ours, contender, split, rows)
    positions = longest(ours, before.prompts)
    ours.models.close()
    theirs = ours.for_models(
        source_of(ours, files, positions), ours.inputs.config.get("chat_template_kwargs")
    )
    suite = ours.suite
    line = blank_line(
        artefact, weights_hash(run / "model"), suite.primary, suite.export_tolerance, before.records
    )
    losses: dict[str, list[float]] = {RUN: before.losses}
    try:
        after = answered(theirs, replace(contender, name=f"parity_{artefact}"), split, rows)
    except InputError as error:
        line["causes"] = [template_cause(ours, theirs, str(error))]
    else:
        same = [a == b for a, b in zip(before.prompts, after.prompts, strict=True)]
        losses[FILE] = after.losses
        records = {RUN: before.records, FILE: after.records}
        line = line_of(line, records, losses, ours.dataset.labels, sum(same) / len(same))
        line["seconds_run"], line["seconds"] = before.seconds, after.seconds
    line["bytes"] = sum(size(path) for path in files)
    if not line["passed"] and not line["causes"]:
        theirs.models.close()
        line["causes"] = likely_causes(run, ours, theirs, files, line, losses, rows)
    elif not line["causes"]:
        line["causes"] = list(other_prompts(ours, theirs, line, rows))
    write_json(path_of(run, artefact), dict(line))


class Answered(NamedTuple):
    """A model's results: for each row a record and the loss of the reference answer (bits per byte); the
    prompts that were answered; and the median latency over TIMED of them in seconds."""

    records: list[Answer]
    losses: list[float]
    prompts: list[list[int]]
    seconds: float


def answered(evaluator: Evaluator, contender: Contender, split: str, rows: list[RenderedRow]) -> Answered:
    """Let a model answer and score `rows`; for conversations, answer only `generate_rows` of the suite,
    because their score is the loss."""
    chat = evaluator.inputs.chat
    asked = evaluator.inputs.ask(split, evaluator.suite.generate_rows if chat else None, rows)
    losses = evaluator.losses(contender, split, rows)
    records = evaluator.answers(contender, split, asked)
    if chat:
        by_id = {record["id"]: record for record in losses}
        for record in records:
            by_id[record["id"]] |= record
        records = losses
    prompts = evaluator.maker.answer(contender, split, asked).contexts
    timed = evaluator.maker.answer(contender, split, asked[: TIMED + 1])
    seconds = seconds_alone(timed, evaluator.models.open(contender.model))[1:]
    median = round(statistics.median(seconds), 4) if seconds else 0.0
    return Answered(records, [loss["loss"] for loss in losses], prompts, median)


def longest(evaluator: Evaluator, contexts: list[list[int]]) -> int:
    """Return the positions needed for the longest prompt with its answer, plus some spare ones."""
    answers = max(len(row["gold"]["answer"].encode()) for split in evaluator.rows.values() for row in split)
    return max(map(len, contexts)) + max(evaluator.suite.max_new_tokens, answers) + 64


def source_of(ours: Evaluator, files: list[Path], positions: int) -> ModelSource:
    """Return the models of the artefact: a folder of full weights, a GGUF file, or a base model and its
    adapter."""
    if files[0].suffix == ".gguf":
        return GgufModels(files[0], ours.inputs.config, ours.models.tokenizer, positions, *files[1:])
    config = {
        "base_model": str(files[0]),
        "attn_implementation": ours.inputs.config.get("attn_implementation"),
        "bf16": read_json(files[0] / "config.json")["dtype"] == "bfloat16",  # as read with dtype="auto"
    }
    return Models(config, files[0], Ranks())


def size(path: Path) -> int:
    """Return the size in bytes of a file, or of the weights in a folder."""
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    begin_worker()
    measure(Run(Path(sys.argv[1])), sys.argv[2], [Path(word) for word in sys.argv[3:]], environment().events)
