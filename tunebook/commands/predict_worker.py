"""Answer the rows of DATA into OUT with the fine-tuned model of RUN. Started by `tunebook predict`, not by
hand.

.venv/bin/python -m tunebook.commands.predict_worker RUN DATA OUT
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import re
import sys
from pathlib import Path

from tunebook.commands.predict import (
    ANSWER,
    BLOCK,
    LABEL,
    REASONING,
    SCORE,
    SECOND,
    SECOND_SCORE,
    STOPPED,
    Plan,
    beside,
    dataset_of,
    questions,
)
from tunebook.core.environment import environment
from tunebook.core.errors import Problem
from tunebook.core.files import Row, read_json, write_json
from tunebook.core.process import begin_worker
from tunebook.core.ranks import ranks
from tunebook.data.prompt import PromptEncoder
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.protocol import common_prefix
from tunebook.evaluation.engines.ranking import label_choices, rank_labels
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.suite import Suite
from tunebook.runs.run import Run

# Characters with which a spreadsheet formula may start, also in full width (OWASP, CSV Injection); plain
# numbers are excepted.
FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?\s?%?", re.ASCII)


def answer_rows(run: Run, data: Path, out: Path, events: Path) -> None:
    """Answer the remaining rows of `data`, in the child process."""
    state_file, partial = beside(out, "state.json"), beside(out, "partial")
    state: Plan = read_json(state_file)
    dataset = dataset_of(run)
    suite = Suite.model_validate(run.settings()["suite"])
    config = run.config()
    models = Models(config, run / "model", ranks())
    encoder = PromptEncoder.of(models.tokenizer, config)
    rows = itertools.islice(questions(dataset, data), state["rows"], None)
    answers: list[list[int]] = []
    with partial.open("ab") as file:
        file.truncate(state["bytes"])
        if not state["bytes"] and out.suffix == ".csv":
            head, _ = csv_line({name: name for name in state["columns"]}, state["columns"], state["raw"])
            file.write(head)
        while block := [
            value for _, value in itertools.islice(rows, BLOCK) if not isinstance(value, Problem)
        ]:
            prompt = encoder.direct if dataset.labels else encoder.context
            contexts = [prompt(*question) for _, question in block]
            if dataset.labels:
                # A label has the same tokens after every prompt.
                answers = answers or ([] if models.head else label_choices(dataset, encoder, block[0][1][0]))
                found = _labels(contexts, answers, models, dataset.labels, state["threshold"])
            else:
                found = _answers(contexts, models, suite.max_new_tokens, encoder)
            for (row, _), answer in zip(block, found, strict=True):
                line = {**row, **answer}
                state["unsure"] += LABEL in answer and answer[LABEL] is None
                if out.suffix == ".csv":
                    cells, changed = csv_line(line, state["columns"], state["raw"])
                    file.write(cells)
                    state["changed"] += changed
                else:
                    file.write((json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
            state["rows"] += len(block)
            state["bytes"] = file.tell()
            write_json(state_file, state)
            with events.open("a", encoding="utf-8") as progress:
                event = {"stage": "predict", "done": state["rows"], "total": state["total"]}
                progress.write(json.dumps(event) + "\n")
    partial.rename(out)


def _answers(contexts: list[list[int]], models: Models, max_new: int, encoder: PromptEncoder) -> list[Row]:
    """Generate an answer for each context, with its reasoning in a column of its own; its score is the
    probability of the whole answer, 0 to 1."""
    lm = models.open("tuned")
    prefix = common_prefix(contexts) if len(contexts) > 1 else []
    found: dict[int, Row] = {}
    job = Job("tuned", "new", "generate", list(map(str, range(len(contexts)))), contexts, max_new=max_new)
    for batch in job.batches(models.times):
        asked_ids = [contexts[i] for i in batch]
        answers = lm.generate(asked_ids, prefix, max_new)
        written = [[*answer.ids, *([lm.end] if answer.stopped else [])] for answer in answers]
        scores = lm.score(asked_ids, written, prefix)
        for i, answer, score in zip(batch, answers, scores, strict=True):
            said = encoder.said(answer.ids)
            found[i] = {ANSWER: said.answer, SCORE: round(math.exp(score), 6), STOPPED: answer.stopped}
            if encoder.shows_reasoning:
                found[i][REASONING] = said.thought
    return [found[i] for i in range(len(contexts))]


def _labels(
    contexts: list[list[int]], answers: list[list[int]], models: Models, labels: list[str], threshold: float
) -> list[Row]:
    """Rank the labels for each context; below the probability `threshold`, the label is null."""
    lm = models.open("tuned")
    found: dict[int, Row] = {}
    job = Job("tuned", "new", "rank", list(map(str, range(len(contexts)))), contexts, choices=answers)
    for batch in job.batches(models.times):
        ranked = rank_labels(lm, models.head, [contexts[i] for i in batch], labels, answers)
        for i, one in zip(batch, ranked, strict=True):
            known = one.probability >= threshold
            found[i] = {
                LABEL: one.label if known else None,
                SCORE: round(one.probability, 6),
                SECOND: one.second,
                SECOND_SCORE: round(one.second_probability, 6),
            }
    return [found[i] for i in range(len(contexts))]


def csv_line(row: Row, columns: list[str], raw: bool) -> tuple[bytes, int]:
    """Return a CSV line, and how many of its cells a spreadsheet would have run as a formula; unless `raw`,
    these are prefixed with an apostrophe."""
    text, changed = io.StringIO(), 0
    cells = {}
    for name, value in row.items():
        if isinstance(value, (dict, list)):
            value = json.dumps(value, ensure_ascii=False, default=str)
        if not raw and isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
            value, changed = f"'{value}", changed + 1
        cells[name] = value
    # Python 3.11 only quotes the characters of the line terminator, and a cell may contain a bare \r.
    csv.DictWriter(text, columns, lineterminator="\r\n").writerow(cells)
    line = text.getvalue().removesuffix("\r\n")
    return f"{line}\n".encode(), changed


if __name__ == "__main__":
    begin_worker()
    run, data, out = map(Path, sys.argv[1:])
    events = environment().events
    assert events  # set by `tunebook predict`
    answer_rows(Run(run), data, out, events)
