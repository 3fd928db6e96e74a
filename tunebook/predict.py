"""`tunebook predict`: the tuned model of a run over a file of new rows.

Rows are answered block by block. A block's lines are on the disk before `<out>.state.json` counts them,
so that a killed prediction goes on without a lost or a doubled row; the file gets its name at the end.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tunebook import jobs, metrics
from tunebook.child import ChildError, follow
from tunebook.console import Console
from tunebook.dataset import Dataset, Row
from tunebook.errors import GOOD, InputError, Problem, RowFault, TunebookError, raise_all
from tunebook.models import Models, weights_hash
from tunebook.paths import show
from tunebook.prompt import Messages, PromptEncoder
from tunebook.ranks import ranks
from tunebook.render import MAX_SHOWN, Renderer
from tunebook.resolve import digest
from tunebook.run import Run, find, read_json, write_json
from tunebook.sources import read_rows_of
from tunebook.suite import Suite
from tunebook.tables import fault, read_table

Question = tuple[Messages, str | None]
OUT_KINDS = (".jsonl", ".csv")
BLOCK = 4 * jobs.BATCH["generate"]
ANSWER, LABEL, SCORE, STOPPED = "predicted", "predicted_label", "predicted_score", "predicted_stopped"


def predict(run_text: str, data: Path, out: Path, console: Console) -> int:
    """Answer every row of `data` into `out`; goes on where it was stopped. Returns the exit code.

    Raises:
        InputError: the run has no model, a row cannot be asked, or `out` is already there.
        TunebookError: the child failed; what it wrote is kept.
    """
    run = find(run_text)
    if not run.done("train"):
        raise InputError(f"RUN: {show(run.folder)} has not finished training.")
    if out.suffix not in OUT_KINDS:
        raise InputError(f"OUT: {out}: must end in one of {', '.join(OUT_KINDS)}.")
    if out.exists():
        raise InputError(f"OUT: {show(out)} is already there. Remove it, or give another name.")
    if not out.parent.is_dir():
        raise InputError(f"OUT: {show(out.parent)}: no such folder.")
    if not data.is_file():
        raise InputError(f"DATA: {data}: no such file.")
    plan = _plan(run, data, out)
    state = Run(out.parent) / f"{out.name}.state.json"
    before = read_json(state, {})
    if before and before["plan"] != plan["plan"]:
        raise InputError(
            f"OUT: {show(state)} belongs to another model or file of rows. Remove it, or give another name."
        )
    if before:
        console.note(f"going on after row {before['rows']}")
    else:
        write_json(state, {**plan, "rows": 0, "bytes": 0})
    log, events = _beside(out, "log.txt"), _beside(out, "events.jsonl")
    with console.timed(None, "predict") as words:
        try:
            offline = Path(read_json(run / "settings.json")["base_model"]).is_dir()
            follow(
                "run_prediction.py",
                [str(run.folder), str(data.resolve()), str(out.resolve())],
                console,
                log,
                events,
                offline=offline,
            )
        except ChildError as error:
            raise TunebookError(
                f"predict failed: {error}\nThe whole log: {show(log)}. The same command goes on."
            ) from None
        for path in (state, log, events):
            path.unlink()
        words.append(f"{plan['total']} rows answered in {show(out)}")
    return GOOD


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")


def _dataset(run: Run) -> Dataset:
    return Dataset.model_validate({**read_json(run / "settings.json")["dataset"], "folder": run / "data"})


def _plan(run: Run, data: Path, out: Path) -> dict[str, Any]:
    """Read every row once; return what the prediction is made of, and the columns of `out`.

    Raises:
        InputError: the first 20 rows that cannot be asked, each with its line.
    """
    dataset = _dataset(run)
    added = [ANSWER, *([LABEL] if dataset.labels else []), SCORE, STOPPED]
    problems, columns, total = [], dict[str, None](), 0
    for number, value in asked(dataset, data):
        if isinstance(value, Problem):
            problems.append(value)
            continue
        row, _ = value
        total += 1
        for name in row:
            if name in added:
                problems.append(Problem("is a column that the prediction adds.", show(data), number, name))
        columns.update(dict.fromkeys(row))
    if len(problems) > MAX_SHOWN:
        problems = [*problems[:MAX_SHOWN], Problem(f"... {len(problems)} problems in all.", show(data))]
    raise_all(problems)
    if not total:
        raise InputError(f"DATA: {data}: has no rows.")
    with data.open("rb") as file:
        rows_hash = hashlib.file_digest(file, "sha256").hexdigest()
    settings = read_json(run / "settings.json")
    made_of = [weights_hash(run / "model"), rows_hash, settings["dataset"], settings["suite"], out.suffix]
    return {"plan": digest(made_of), "columns": [*columns, *added], "total": total}


def asked(dataset: Dataset, data: Path) -> Iterator[tuple[int, tuple[Row, Question] | Problem]]:
    """Yield each row of `data` with what asks it (messages, and the tools it offers), or what is wrong."""
    renderer = Renderer(dataset)
    for number, value in read_table(data):
        # One row at a time, since a reader leaves out columns that the answers' file keeps.
        for _, read in read_rows_of(dataset.source, iter([(number, value)]), show(data), answered=False):
            if isinstance(read, Problem):
                yield number, read
                continue
            try:
                yield number, (value, (renderer.question(read), renderer.tools(read)))
            except RowFault as found:
                yield number, fault(str(found), show(data), number, found.field)


def answer_rows(run: Run, data: Path, out: Path, events: Path) -> None:
    """Answer what is left of `data`, in the child process."""
    state_file, partial = _beside(out, "state.json"), _beside(out, "partial")
    state = read_json(state_file)
    dataset = _dataset(run)
    suite = Suite.model_validate(read_json(run / "settings.json")["suite"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    models = Models(config, run / "model", ranks())
    encoder = PromptEncoder(models.tokenizer, config.get("chat_template_kwargs"))
    rows = itertools.islice(asked(dataset, data), state["rows"], None)
    with partial.open("ab") as file:
        file.truncate(state["bytes"])
        if not state["bytes"] and out.suffix == ".csv":
            file.write(
                _csv_line(dict(zip(state["columns"], state["columns"], strict=True)), state["columns"])
            )
        while block := [
            value for _, value in itertools.islice(rows, BLOCK) if not isinstance(value, Problem)
        ]:
            contexts = [encoder.context(*question) for _, question in block]
            found = _answers(contexts, models, suite.max_new_tokens, dataset)
            for (row, _), answer in zip(block, found, strict=True):
                line = {**row, **answer}
                if out.suffix == ".csv":
                    file.write(_csv_line(line, state["columns"]))
                else:
                    file.write((json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
            state |= {"rows": state["rows"] + len(block), "bytes": file.tell()}
            write_json(state_file, state)
            with events.open("a", encoding="utf-8") as progress:
                event = {"stage": "predict", "done": state["rows"], "total": state["total"]}
                progress.write(json.dumps(event) + "\n")
    partial.rename(out)


def _answers(contexts: list[list[int]], models: Models, max_new: int, dataset: Dataset) -> list[Row]:
    """Generate an answer to each context; its score is the probability of the whole answer, 0 to 1."""
    from tunebook.lm import common_prefix

    lm = models.open("tuned")
    if models.head:
        return [_labelled(scores, dataset.labels) for scores in lm.classify(contexts)]
    prefix = common_prefix(contexts) if len(contexts) > 1 else []
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))
    size = jobs.BATCH["generate"] * models.times
    found: dict[int, Row] = {}
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        asked_ids = [contexts[i] for i in batch]
        answers = lm.generate(asked_ids, prefix, max_new)
        written = [[*answer.ids, *([lm.end] if answer.stopped else [])] for answer in answers]
        scores = lm.score(asked_ids, written, prefix)
        for i, answer, score in zip(batch, answers, scores, strict=True):
            text = str(models.tokenizer.decode(answer.ids, skip_special_tokens=True)).strip()
            found[i] = {ANSWER: text}
            if dataset.labels:
                found[i][LABEL] = metrics.read_label(text, dataset.labels)
            found[i] |= {SCORE: round(math.exp(score), 6), STOPPED: answer.stopped}
    return [found[i] for i in range(len(contexts))]


def _labelled(scores: list[float], labels: list[str]) -> Row:
    """Return the answer of a classification head, which writes the label itself."""
    best = max(range(len(scores)), key=scores.__getitem__)
    return {ANSWER: labels[best], LABEL: labels[best], SCORE: round(math.exp(scores[best]), 6), STOPPED: True}


def _csv_line(row: Row, columns: list[str]) -> bytes:
    text = io.StringIO()
    plain = {
        name: json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value
        for name, value in row.items()
    }
    csv.DictWriter(text, columns, lineterminator="\n").writerow(plain)
    return text.getvalue().encode()
