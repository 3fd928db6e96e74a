"""`tunebook check`: find everything that can be wrong with the real run of a recipe, on any machine."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from tunebook.check import access, labels, tokens
from tunebook.check.axolotl import Axolotl
from tunebook.check.config import adder, config_findings, requested_and_effective
from tunebook.check.duplicates import Duplicates
from tunebook.check.findings import Finding, Findings, of_problem
from tunebook.check.labels import Labels
from tunebook.check.marks import Marks, report
from tunebook.check.promises import chat_template
from tunebook.check.promises.schedule import after_counting
from tunebook.check.rows import Counted, Rows, Sample, Watcher, survey, without_boilerplate
from tunebook.check.secrets import Secrets
from tunebook.check.sizes import lengths
from tunebook.check.sizes.splits import SplitSizes, Windows
from tunebook.check.training_rules import LORA_WITHOUT_REGRET
from tunebook.check.turns import Leftovers, NotInPassage, OfAService, Turns
from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe, load_recipe
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.console import Console
from tunebook.core.errors import BAD_INPUT, BAD_MACHINE, GOOD, InputError, MachineError, TunebookError
from tunebook.core.files import AxolotlConfig, write_text
from tunebook.core.paths import cache_folder, show
from tunebook.data import cache
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.field_use.find import uses
from tunebook.data.field_use.show import field_lines
from tunebook.hardware import overlays
from tunebook.models import shapes
from tunebook.runs.rows import write_rows

H100 = overlays.Machine(gpus=1, gib=80, compute_capability=9.0)
PACKING_STUDY = "https://arxiv.org/abs/2410.08081"
FEW_STEPS = 50
TINY_SET = 500  # with fewer rows, packing leaves only a handful of sequences


def run_check(
    name: str, options: Options, console: Console, as_json: bool = False, found: Findings | None = None
) -> int:
    """Check the real run of recipe `name` on whatever machine this is; with `as_json`, print nothing but
    JSON. `found`, if given, collects the findings.

    Returns:
        2 if there is an error, 4 if the rows could not be read from the Hub, otherwise 0, even with warnings
        and notes.

    Raises:
        InputError: there is no such recipe, or its YAML cannot be read.
    """
    console.rich.quiet |= as_json
    recipe = load_recipe(name)
    found = Findings() if found is None else found
    resolved = _config(recipe, options, found, console)
    dataset = _dataset(recipe, found)
    sample = Sample(found)
    with ExitStack() as stack:
        job = _start(resolved, dataset) if resolved and dataset else None
        if job:
            stack.enter_context(job.child)
        marks = Marks()
        if dataset:
            _fields(dataset, found, console)
        rows = _rows(recipe, dataset, sample, marks, found, console) if dataset else 0
        if resolved and dataset and job:
            with console.timed(None, "axolotl") as words:
                words.append(_axolotl(resolved, dataset, job, sample, marks, found, console))
            _steps(resolved, rows, found)
            with console.timed(None, "access") as words:
                words.append(access.check_access(resolved, dataset, found))
    found.show(console)
    if found.shortened() and not console.rich.quiet:
        path = cache_folder() / "check" / f"{name}.txt"
        write_text(path, found.listed())
        console.stage("details", show(path))
    code = BAD_INPUT if found.count("error") else BAD_MACHINE if found.unread else GOOD
    if as_json:
        print(json.dumps({"recipe": name, "tier": "real", "exit_code": code, **found.as_json()}, indent=1))
    return code


def _config(recipe: Recipe, options: Options, found: Findings, console: Console) -> Resolved | None:
    try:
        with console.timed(None, "config") as words:
            resolved = resolve(recipe, replace(options, tier="real"), for_this_machine=False)
            found.extend(config_findings(resolved))
            words.append(f"{recipe.file}: {len(resolved.config)} keys, all known")
            return resolved
    except InputError as error:
        _say(error, "config", found)
    return None


def _fields(dataset: Dataset, found: Findings, console: Console) -> None:
    """First report how every field of the rows is used, unless fork has already done so."""
    if "fields" in found.facts:
        return
    source = dataset.source
    try:
        fields = uses(dataset, source.splits or source.files)
    except InputError:
        return  # reported again when the rows are read
    except MachineError as error:
        found.skip("use of every field", f"offline: {error}")
        return
    found.facts["fields"] = [asdict(use) for use in fields]
    for line in field_lines(fields):
        console.rich.print(line, markup=False)


def _dataset(recipe: Recipe, found: Findings) -> Dataset | None:
    try:
        return load_dataset_config(recipe.dataset)
    except InputError as error:
        _say(error, "dataset.yaml", found)
    return None


def _say(error: InputError, kind: str, found: Findings) -> None:
    found.extend([of_problem(problem, kind) for problem in error.problems])


class _Job(NamedTuple):
    """The child's job: on which machine, and with whose tokenizer."""

    child: Axolotl
    machine: overlays.Machine
    place: tokens.Place
    about_rows: bool


def _start(resolved: Resolved, dataset: Dataset) -> _Job:
    """Start the child that checks config and tokens; it imports Axolotl while rows are read."""
    machine = (resolved.overlay and resolved.overlay.machine) or H100
    machine = machine.model_copy(update={"gpus": resolved.world})
    place = tokens.tokenizer_place(resolved.config)
    job = tokens.job(resolved.config, dataset, place)
    whole = {"config": resolved.config, "machine": machine.model_dump(), **job}
    return _Job(Axolotl(whole, offline=place != "hub"), machine, place, bool(job))


def _rows(
    recipe: Recipe, dataset: Dataset, sample: Sample, marks: Marks, found: Findings, console: Console
) -> int:
    """Check every row, and return the number of valid train rows."""
    with console.timed(None, "rows") as words:
        read = Rows(dataset)
        strip, labelled = without_boilerplate(dataset), bool(dataset.labels)
        near = Duplicates(found, sample, strip=strip, labelled=labelled, rows=read)
        watchers: list[Watcher] = [sample, near, marks, Counted(dataset), OfAService(found)]
        place = show(dataset.folder / "dataset.yaml")
        watchers.append(SplitSizes(found, dataset.task, place))
        if dataset.source.window:
            watchers.append(Windows(found, dataset.source.window, place))
        if dataset.task != "classification":
            watchers.append(Leftovers(found, dataset))
        if dataset.task == "qa":
            watchers.append(NotInPassage(found, dataset))
        if dataset.task == "chat":
            watchers.append(Turns(found, dataset, recipe.eval))
        if dataset.labels:
            watchers.append(Labels(found, dataset))
        if dataset.look_for_secrets:
            watchers.append(Secrets(found))
        total = sum(cache.counts(read.entry).values()) if read.entry else None
        with console.counting("rows read", total) as step:
            counts = survey(dataset, watchers, found, step, read)
        summary = ", ".join(f"{counts[split]} {split}" for split in ("train", "dev", "test"))
        words.append(f"datasets/{dataset.name}: {summary if counts else 'not read'}")
    return counts["train"]


def _axolotl(
    resolved: Resolved,
    dataset: Dataset,
    job: _Job,
    sample: Sample,
    marks: Marks,
    found: Findings,
    console: Console,
) -> str:
    """Send the sampled rows to the child, turn its answer into findings, and return a line for the
    console."""
    machine, estimate = job.machine, job.place == "nowhere"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "sample.jsonl"
        looked_at = sample.looked_at
        write_rows(file, [seen.row for seen in looked_at])
        try:
            with console.counting("seconds for Axolotl's import and checks (usually 10 to 40)") as step:
                answer = job.child.answer(file if sample.rows else None, step)
        except TunebookError as error:
            found.skip("config and tokens by Axolotl", str(error))
            return "not checked"
    if answer["refused"]:
        found.add(
            Finding(
                "error",
                "rejected by Axolotl",
                answer["refused"],
                file=resolved.recipe.file,
                code="config.refused_by_axolotl",
            )
        )
    else:
        _show_effective(resolved, answer["effective"], found, console)
    if estimate:
        found.skip(
            "loss mask, end-of-turn token, bos token and system prompt, with the recipe's own tokenizer",
            "offline",
        )
        if sample.rows and not job.about_rows:
            found.skip("exact lengths of rows", "offline, and the trial model has not been converted yet")
    if answer["rows_failed"]:
        text = f"the rows cannot be tokenized: {answer['rows_failed']}"
        found.add(Finding("error", "tokens", text, code="tokens.not_tokenized"))
    # in the other cases the config rules have already checked the template
    if answer["rows"] and job.place == "hub":
        placed: list[Finding] = []
        chat_template.say(answer["rows"].get("traits", {}), resolved, adder(resolved, placed))
        found.extend(placed)
    report(marks, answer["rows"], looked_at, found, dataset.allow_special_tokens)
    summary = tokens.judge(answer["rows"], sample, found, estimate)
    if sample.rows and not answer["rows_failed"]:
        counted = {**answer["rows"], "estimate": estimate} if answer["rows"] else None
        _lengths(resolved, dataset, sample, counted, found)
    if dataset.labels and answer["rows"] and not estimate:
        found.extend(labels.sharing(answer["rows"]["labels"], show(dataset.folder / "dataset.yaml")))
    cards = f"{machine.gpus} x {machine.gib} GB, compute capability {machine.compute_capability}"
    taken = "refused" if answer["refused"] else "accepted"
    return f"{taken} by its own validation, as on {cards}; tokens a row: {summary}"


def _lengths(
    resolved: Resolved, dataset: Dataset, sample: Sample, answer: dict[str, Any] | None, found: Findings
) -> None:
    """Judge lengths by the child's answer, whose tokenizer is the recipe's own unless it says otherwise, or
    by bytes where it has none."""
    rows = [*sample.rows, *sample.held_out]  # those of rare kinds would count for more than they are
    sizes = answer["lengths"][: len(rows)] if answer else [lengths.by_bytes(seen.row) for seen in rows]
    estimate = answer is None or bool(answer.get("estimate"))
    measured = lengths.measured(rows, sizes, estimate)
    judged = lengths.Lengths(resolved, measured, sample.total, found, estimate, dataset.task == "qa")
    most = shapes.positions_by_source(resolved.config)
    judged.judge(most, lengths.most_generated(resolved.recipe, dataset.task))


def _show_effective(resolved: Resolved, effective: AxolotlConfig, found: Findings, console: Console) -> None:
    rows = requested_and_effective(resolved, effective)
    found.facts["effective"] = {row["key"]: row["effective"] for row in rows}
    if rows:
        console.table(rows, "settings of the run that differ from recipe.yaml")


def _steps(resolved: Resolved, rows: int, found: Findings) -> None:
    """Add findings that depend on both the config and the number of rows."""
    if not rows:
        return
    config, placed = resolved.config, list[Finding]()
    add = adder(resolved, placed)
    count, how = tokens.steps(config, resolved.identity["global_batch"], rows, found.facts.get("lengths"))
    found.facts["steps"] = {"count": count, "how": how}
    if count is not None and count < FEW_STEPS:
        add(
            "warning",
            "max_steps" if config.get("max_steps") else "num_epochs",
            f"{count} optimizer steps ({how}); fewer than {FEW_STEPS} are rarely enough to learn a task.",
            "Use more epochs, a smaller batch, or no packing.",
            LORA_WITHOUT_REGRET,
            code="training.few_steps",
        )
    if count is not None:
        after_counting(config, count, add)
    if config.get("sample_packing") and rows < TINY_SET:
        add(
            "warning",
            "sample_packing",
            f"packs {rows} rows into few sequences, so each step has many rows and there are few steps.",
            "Set it to false for such a small dataset.",
            PACKING_STUDY,
            code="training.packs_few_rows",
        )
    found.extend(placed)
