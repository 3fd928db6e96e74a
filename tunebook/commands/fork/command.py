"""`tunebook fork`: its arguments and options."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.options import console, takes
from tunebook.config.overrides import Options


@takes("model")
def fork_command(
    options: Options,
    origin: Annotated[str, typer.Argument(metavar="FROM", help="a recipe, or a plain Axolotl .yaml")],
    name: Annotated[str, typer.Argument(help="the name of the new recipe and its dataset")],
    data: Annotated[str, typer.Argument(help="a file, a folder, owner/name on the Hub, or train=FILE ...")],
    task: Annotated[str, typer.Option(help="classification, qa or chat; default: as FROM")] = "",
    fields: Annotated[str, typer.Option(help='which column is what: "text=body label=topic"')] = "",
    group: Annotated[str, typer.Option(help="the column of rows that belong together; none: no group")] = "",
    time: Annotated[str, typer.Option(help="a column of times: the newest rows become dev and test")] = "",
    drop: Annotated[str, typer.Option(help='fields to leave out on purpose: "history score"')] = "",
    near: Annotated[
        Literal["bounded", "off", "strict"],
        typer.Option(help="near-duplicates in one split: families of a bounded size, none, or whole chains"),
    ] = "bounded",
    where: Annotated[str, typer.Option(help='keep the rows where this holds: "score >= 4"')] = "",
    roles: Annotated[str, typer.Option(help='who the speakers are: "Kunde=user Haus=assistant"')] = "",
    repair: Annotated[
        str, typer.Option(help="what to change in conversations: join_turns, drop_opening, drop_unanswered")
    ] = "",
) -> int:
    """Make a recipe for your own data, and check it."""
    told = (task, fields, group, time, drop, near, where, roles, repair)
    return run_fork(ForkOptions(origin, name, data, options.model, *told), console())
