"""`tunebook predict`: answer a file of new rows with a run's fine-tuned model.

Rows are answered in blocks. A block's lines are on disk before `<out>.state.json` counts them, so that a
killed prediction resumes without lost or repeated rows; the output file gets its final name at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from typing_extensions import TypedDict

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError, Problem, RowFault, TunebookError, raise_all
from tunebook.core.files import Row, digest, read_json, write_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.data.dataset import Dataset
from tunebook.data.files.tables import read_table
from tunebook.data.formats.bad_rows import MAX_SHOWN
from tunebook.data.formats.place import fault
from tunebook.data.markers import marks_in
from tunebook.data.prompt import Messages
from tunebook.data.renderer import Renderer
from tunebook.data.sources import read_rows_of
from tunebook.data.thinking import setting
from tunebook.evaluation import jobs
from tunebook.export.merge import refuse_changed_base
from tunebook.models.fingerprint import weights_hash
from tunebook.report.names import count
from tunebook.runs.model_files import find_with_model
from tunebook.runs.run import Run
from tunebook.training.child import follow

Question = tuple[Messages, str | None]
OUT_KINDS = (".jsonl", ".csv")
BLOCK = 4 * jobs.BATCH["generate"]
# columns of answers without labels
ANSWER, STOPPED, REASONING = "predicted", "predicted_stopped", "predicted_reasoning"
# and with labels
LABEL, SECOND, SECOND_SCORE = "predicted_label", "predicted_second", "predicted_second_score"
SCORE = "predicted_score"


class Plan(TypedDict):
    """The content of OUT.state.json: a hash of everything that affects the answers, the columns, the number
    of rows, and the progress: rows, bytes of their lines, cells that were prefixed with an apostrophe, and
    rows without a label because of the threshold."""

    plan: str
    columns: list[str]
    total: int
    threshold: float
    raw: bool
    changed: int
    unsure: int
    rows: int
    bytes: int


def predict(
    run_text: str, data: Path, out: Path, console: Console, threshold: float = 0.0, raw: bool = False
) -> int:
    """Answer every row of `data` into `out`, resuming an interrupted prediction. Return the exit code.

    Raises:
        InputError: the run has no model, a row has no prompt, or `out` already exists.
        TunebookError: the child process failed; the rows written so far are kept.
    """
    run = find_with_model(run_text, "train")
    if out.suffix not in OUT_KINDS:
        raise InputError(f"OUT: {out}: must end in {' or '.join(OUT_KINDS)}.", code="predict.bad_suffix")
    if raw and out.suffix != ".csv":
        raise InputError("--raw (RAW=1) only applies to OUT=....csv.", code="option.raw_needs_csv")
    if out.exists():
        raise InputError(
            f"OUT: {show(out)} already exists. Remove it, or choose another name.", code="predict.out_exists"
        )
    if not out.parent.is_dir():
        raise InputError(f"OUT: {show(out.parent)}: no such folder.", code="predict.no_folder")
    if not data.is_file():
        raise InputError(f"DATA: {data}: file not found.", code="predict.no_file")
    refuse_changed_base(run)
    plan = _plan(run, data, out, threshold, raw, console)
    state = Run(out.parent) / f"{out.name}.state.json"
    before: Plan | None = read_json(state)
    if before and before["plan"] != plan["plan"]:
        raise InputError(
            f"OUT: {show(state)} belongs to another model or another file of rows. Remove it, or choose "
            "another name.",
            code="predict.other_state",
        )
    if before:
        console.note(f"resuming after row {before['rows']}")
    else:
        write_json(state, plan)
    log, events = beside(out, "log.txt"), beside(out, "events.jsonl")
    with console.timed(None, "predict") as words:
        try:
            offline = Path(run.placement()["base_model"]).is_dir()
            follow(
                "tunebook.commands.predict_worker",
                [str(run.folder), str(data.resolve()), str(out.resolve())],
                console,
                log,
                events,
                offline=offline,
            )
        except ChildError as error:
            raise TunebookError(
                f"prediction failed: {error}\nFull log: {show(log)}. Rerun the same command to resume.",
                code="predict.failed",
            ) from None
        ended: Plan = read_json(state)
        for path in (state, log, events):
            path.unlink()
        words.append(f"{count(plan['total'], 'row')} answered in {show(out)}")
    if threshold:
        console.note(
            f"{ended['unsure']} of them have no label, because none is as likely as THRESHOLD={threshold:g}"
        )
    if ended["changed"]:
        console.note(
            f"{count(ended['changed'], 'cell')} that a spreadsheet would run as a formula: ' put before it "
            "(RAW=1 leaves it as it is)"
        )
    return GOOD


def beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")


def dataset_of(run: Run) -> Dataset:
    return Dataset.model_validate({**run.settings()["dataset"], "folder": run / "data"})


def _plan(run: Run, data: Path, out: Path, threshold: float, raw: bool, console: Console) -> Plan:
    """Read every row once; return the plan of the prediction, and the columns of `out`. Rows whose text could
    end or start a turn are reported.

    Raises:
        InputError: the first 20 faulty rows, each with its line.
    """
    dataset = dataset_of(run)
    if threshold and not dataset.labels:
        raise InputError(
            "--threshold (THRESHOLD=) only applies to a dataset with labels.",
            code="option.threshold_needs_labels",
        )
    own = marks_in(f"{dataset.system} {dataset.prompt}")
    added = [LABEL, SCORE, SECOND, SECOND_SCORE] if dataset.labels else [ANSWER, SCORE, STOPPED]
    if setting.of(run.config()) in setting.SHOWN and not dataset.labels:
        added.append(REASONING)
    problems, columns, total, marked = [], dict[str, None](), 0, list[tuple[int, str]]()
    for number, value in questions(dataset, data):
        if isinstance(value, Problem):
            problems.append(value)
            continue
        row, (messages, _) = value
        total += 1
        if marks := set[str]().union(*(marks_in(str(turn["content"])) for turn in messages)) - own:
            marked.append((number, min(marks)))
        for name in row:
            if name in added:
                problems.append(
                    Problem(
                        "predict adds a column with this name. Rename yours.",
                        show(data),
                        number,
                        name,
                        "predict.reserved_column",
                    )
                )
        columns.update(dict.fromkeys(row))
    if len(problems) > MAX_SHOWN:
        problems = [
            *problems[:MAX_SHOWN],
            Problem(f"... {len(problems)} problems in total.", show(data), code="predict.more_problems"),
        ]
    raise_all(problems)
    if not total:
        raise InputError(f"DATA: {data} has no rows.", code="predict.no_rows")
    if marked:
        number, mark = marked[0]
        console.note(
            f"{show(data)}: {len(marked)} rows contain what looks like a chat-template token; the first is "
            f"{mark!r} (line {number}). A model with this token reads it as a special token. To make it "
            "plain text, set `special_tokens: escape` in dataset.yaml before training."
        )
    with data.open("rb") as file:
        rows_hash = hashlib.file_digest(file, "sha256").hexdigest()
    settings = run.settings()
    made_of = [
        weights_hash(run / "model"),
        rows_hash,
        settings["dataset"],
        settings["suite"],
        out.suffix,
        threshold,
        raw,
    ]
    columns.update(dict.fromkeys(added))
    return {
        "plan": digest(made_of),
        "columns": [*columns],
        "total": total,
        "threshold": threshold,
        "raw": raw,
        "changed": 0,
        "unsure": 0,
        "rows": 0,
        "bytes": 0,
    }


def questions(dataset: Dataset, data: Path) -> Iterator[tuple[int, tuple[Row, Question] | Problem]]:
    """Yield each row of `data` with its prompt (messages, and its tools), or its problem."""
    renderer = Renderer(dataset)
    for number, value in read_table(data, dataset.source.table):
        # One row at a time, because a reader drops columns that the output file keeps.
        for _, read in read_rows_of(dataset.source, iter([(number, value)]), show(data), answered=False):
            if isinstance(read, Problem):
                yield number, read
                continue
            try:
                yield number, (value, (renderer.question(read), renderer.tools(read)))
            except RowFault as found:
                yield number, fault(str(found), show(data), number, found.field, found.code)


def predict_command(
    run: RunName,
    data: Annotated[Path, typer.Argument(help="rows in the format of the dataset's source files")],
    out: Annotated[Path, typer.Argument(help="the new file for the rows with answers: .jsonl or .csv")],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="below this probability, give no label")
    ] = 0.0,
    raw: Annotated[
        bool, typer.Option("--raw", help=".csv: do not escape cells that a spreadsheet would run as formulas")
    ] = False,
) -> int:
    """Answer the rows of a file with a run's fine-tuned model.

    Resumes if it was stopped. With labels, also gives the probability of the most likely label, and the
    runner-up.
    """
    return predict(run, data, out, command_console(), threshold, raw)
