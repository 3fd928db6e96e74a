"""`tunebook advise`: recommend what to try first, with the facts counted in the rows and the cost."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from typing import Annotated

import typer

from tunebook.commands.advise.ask import ask
from tunebook.commands.advise.counts import Splits, facts, read
from tunebook.commands.fork.refusals import TASKS
from tunebook.commands.options import Json, console
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import GATE_FAILED, GOOD, InputError, Problem
from tunebook.hardware import gpus
from tunebook.plan.advise import QUESTIONS, Advice, Facts, advise
from tunebook.plan.changes import planned
from tunebook.plan.planner import Plan
from tunebook.plan.rows import rows_of


def advise_command(
    data: Annotated[str, typer.Argument(help="a file, a folder, owner/name on the Hub, or train=FILE ...")],
    task: Annotated[
        str, typer.Option(help="classification, qa, chat or preference; default: detected from the rows")
    ] = "",
    fields: Annotated[str, typer.Option(help='the column of each field: "text=body label=topic"')] = "",
    group: Annotated[
        str, typer.Option(help="column of related rows (customer, author); none: no groups")
    ] = "",
    may_ask: Annotated[
        bool,
        typer.Option(
            "--ask/--no-ask",
            help="prompt the model of TUNEBOOK_ENDPOINT, or else the trial base if it is in the cache, with "
            "24 dev rows",
        ),
    ] = True,
    as_json: Json = False,
) -> int:
    """Look at your rows and recommend what to try first, with the evidence.

    A prompt, retrieval, an SVM, a head, LoRA or more data. Writes no files outside the cache. Exits with 3
    if the advice is not to fine-tune.
    """
    return run_advise(data, task, fields, group, may_ask, as_json, console(quiet=as_json))


def run_advise(
    data: str, task: str, fields: str, group: str, may_ask: bool, as_json: bool, out: Console
) -> int:
    """Print the questions, their answers, the advice, and the cost of a fine-tune. A model is prompted last,
    and only if no other question says no.

    Raises:
        InputError: the rows cannot be read, or are ambiguous; a variable of the endpoint is invalid.
        TunebookError: the model that was prompted did not answer.
    """
    if task not in ("", *TASKS):
        text = f"expected one of {', '.join(TASKS)} (got {task!r})."
        raise InputError(Problem(text, key="--task (TASK=)", code="option.bad_task"))
    dataset, rows, place = read(data, task, fields, group)
    found = replace(facts(dataset, rows), prompted="--no-ask (ASK=0)")
    out.stage("rows", f"{place}: {found.task}, {found.train} train and {found.test} test rows")
    advice = advise(found)
    if may_ask and advice.recipe:
        found = replace(found, prompted=ask(dataset, rows, advice.recipe, out))
        advice = advise(found)
    elif may_ask:
        found = replace(found, prompted=f"question {len(advice.answers)} decides without it")
    cost = cheapest(advice.recipe, rows) if advice.recipe else None
    if as_json:
        print(json.dumps(_as_json(found, advice, cost), indent=1, ensure_ascii=False))
    else:
        _show(advice, found, cost, data, out)
    return GOOD if advice.recipe else GATE_FAILED


def cheapest(recipe: str, rows: Splits) -> Plan | None:
    """Return the plan of `recipe` with these rows on the cheapest GPU, None if no GPU has a price."""
    counted = rows_of(rows)
    plans = [planned(load_recipe(recipe), Options(), key, None, None, counted) for key in gpus.gpus()]
    priced = [one for one in plans if one.fits and not one.tight and one.dollars]
    return min(priced, key=lambda one: one.dollars.high) if priced else None  # type: ignore[union-attr]


def _as_json(found: Facts, advice: Advice, cost: Plan | None) -> dict[str, object]:
    return {
        "advice": advice.word,
        "why": advice.why,
        "recipe": advice.recipe,
        "questions": [answer._asdict() for answer in advice.answers],
        "facts": _plain(found),
        "cost": cost and {"gpu": cost.gpu, "dollars": cost.dollars and asdict(cost.dollars)},
    }


def _plain(found: Facts) -> dict[str, object]:
    plain = asdict(found)
    if not isinstance(found.prompted, str):
        plain["prompted"]["tried"] = [one._asdict() for one in found.prompted.tried]
    return plain


def _show(advice: Advice, found: Facts, cost: Plan | None, data: str, out: Console) -> None:
    for number, answer in enumerate(advice.answers, start=1):
        said = {True: "yes", False: "no", None: "?"}[answer.yes]
        out.stage(f"{number}  {said}", answer.question)
        out.note(answer.found)
    if len(advice.answers) < len(QUESTIONS):
        out.stage("prompts", f"no model was prompted: {found.prompted}")
    out.stage("advice", f"{advice.word}: {advice.why}")
    if cost and cost.dollars:
        out.stage(
            "cost",
            f"{advice.recipe} with these rows on 1 x {cost.gpu_name}: ${cost.dollars.low:.2g} to "
            f"{cost.dollars.high:.2g} for training and evaluation; free on the trial tier",
        )
    if advice.recipe:
        out.stage("next", f"make fork FROM={advice.recipe} NAME=my-task DATA={shlex.quote(data)}")
