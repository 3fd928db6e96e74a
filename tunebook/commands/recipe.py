"""`tunebook recipe` and `tunebook recipes`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunebook.commands.options import SHARED, Json, Name, console, takes
from tunebook.config.overrides import Options
from tunebook.core.errors import GOOD, InputError
from tunebook.pipeline.recipe import run_recipe
from tunebook.pipeline.rehearse import rehearse as rehearse_recipe
from tunebook.report.published import recipe_table


@takes(*SHARED)
def recipe_command(
    name: Name,
    options: Options,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, help="number of runs with consecutive seeds, starting at --seed, and their spread"
        ),
    ] = 1,
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse", help="the real run on this CPU with two layers and 64 rows, before a GPU is rented"
        ),
    ] = False,
) -> int:
    """Check, train, evaluate and report one recipe; resumes a stopped run."""
    if rehearse:
        if seeds > 1:
            text = "--seeds (SEEDS=): not with --rehearse (REHEARSE=1), which has no results to compare."
            raise InputError(text, code="option.not_with_rehearse")
        return rehearse_recipe(name, options, console())
    return run_recipe(name, options, console(), seeds)


def recipes_command(as_json: Json = False) -> int:
    """List the recipes with their last published results."""
    rows = recipe_table()
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        console().table(rows)
    return GOOD
