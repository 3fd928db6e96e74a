"""`tunebook fork`: its arguments and options."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.tables.facts import table_options
from tunebook.commands.options import console, takes
from tunebook.config.overrides import Options


@takes("model")
def fork_command(
    options: Options,
    origin: Annotated[str, typer.Argument(metavar="FROM", help="a recipe, or a plain Axolotl .yaml")],
    name: Annotated[str, typer.Argument(help="the name of the new recipe and its dataset")],
    data: Annotated[str, typer.Argument(help="a file, a folder, owner/name on the Hub, or train=FILE ...")],
    task: Annotated[str, typer.Option(help="classification, qa or chat; default: that of FROM")] = "",
    fields: Annotated[str, typer.Option(help='the column of each field: "text=body label=topic"')] = "",
    group: Annotated[
        str, typer.Option(help="column of related rows (customer, author); none: no groups")
    ] = "",
    time: Annotated[str, typer.Option(help="a column of times: the newest rows become dev and test")] = "",
    drop: Annotated[str, typer.Option(help='fields to ignore on purpose: "history score"')] = "",
    near: Annotated[
        Literal["bounded", "off", "strict"],
        typer.Option(
            help="which near-duplicates stay in one split: families of bounded size, none, or whole chains"
        ),
    ] = "bounded",
    where: Annotated[str, typer.Option(help='keep only rows for which this is true: "score >= 4"')] = "",
    roles: Annotated[str, typer.Option(help='who the speakers are: "Kunde=user Haus=assistant"')] = "",
    repair: Annotated[
        str, typer.Option(help="what to change in conversations: join_turns, drop_opening, drop_unanswered")
    ] = "",
    encoding: Annotated[
        str, typer.Option(help="encoding of files that are not UTF-8: cp1252, shift_jis, gb18030")
    ] = "",
    delimiter: Annotated[
        str, typer.Option(help="delimiter of CSV files: comma, semicolon, tab, pipe, or a character")
    ] = "",
    header: Annotated[str, typer.Option(help="the line of the column names; none: the first is a row")] = "",
    sheet: Annotated[str, typer.Option(help="the sheet to read, if an Excel file has several")] = "",
    quotes: Annotated[
        Literal["usual", "none"], typer.Option(help='none: treat `"` in CSV files as part of the text')
    ] = "usual",
    labels: Annotated[
        str, typer.Option(help="a file with names for the labels; join: merge different spellings of a label")
    ] = "",
    window: Annotated[
        str, typer.Option(help="shorten the passages of questions to this many words: 300")
    ] = "",
    length: Annotated[str, typer.Option(help="sequence_len in tokens; longer rows are dropped")] = "",
    allow: Annotated[
        str, typer.Option(help="keys of somebody else's config that may run code, send data or read files")
    ] = "",
    thinking: Annotated[
        Literal["", "off", "keep", "mask"],
        typer.Option(help="reasoning in answers: keep (learn it), mask (show it), off (leave it out)"),
    ] = "",
    drop_bad: Annotated[int, typer.Option(min=0, help="drop up to this many bad rows, and list them")] = 0,
) -> int:
    """Make a recipe for your own data, and check it."""
    told = (task, fields, group, time, drop, near, where, roles, repair, drop_bad)
    table = table_options(encoding, delimiter, header, sheet, quotes)
    rest = (table, labels, window, length, allow, thinking)
    asked = ForkOptions(origin, name, data, options.model, *told, *rest)
    return run_fork(asked, console())
