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
    encoding: Annotated[
        str, typer.Option(help="of files that are not UTF-8: cp1252, shift_jis, gb18030")
    ] = "",
    delimiter: Annotated[
        str, typer.Option(help="of CSV files: comma, semicolon, tab, pipe, or a letter")
    ] = "",
    header: Annotated[str, typer.Option(help="the line of the column names; none: the first is a row")] = "",
    sheet: Annotated[str, typer.Option(help="the sheet of an Excel file with several")] = "",
    quotes: Annotated[
        Literal["usual", "none"], typer.Option(help='none: `"` is a letter of the text in CSV files')
    ] = "usual",
    labels: Annotated[
        str, typer.Option(help="a file with the names of labels; join: spellings of one label become one")
    ] = "",
    window: Annotated[str, typer.Option(help="words: cut the long passages of questions: 300")] = "",
    length: Annotated[str, typer.Option(help="tokens: sequence_len; longer rows are dropped")] = "",
    allow: Annotated[
        str, typer.Option(help="keys of a foreign config that may run code, send out or read files")
    ] = "",
    drop_bad: Annotated[int, typer.Option(min=0, help="leave out up to this many bad rows, each named")] = 0,
) -> int:
    """Make a recipe for your own data, and check it."""
    told = (task, fields, group, time, drop, near, where, roles, repair, drop_bad)
    table = table_options(encoding, delimiter, header, sheet, quotes)
    asked = ForkOptions(origin, name, data, options.model, *told, table, labels, window, length, allow)
    return run_fork(asked, console())
