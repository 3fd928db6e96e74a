"""Row layouts: the fields that the rows of a file have, and how each layout becomes template fields.

In: a raw row, as a file has it. Out: one or more rows for the templates of dataset.yaml, or a Problem that
names the file's own column. `source.reader` names the layout, `source.columns` maps its fields to the columns
of the file. A column mapped to an unknown field name (`ignored: id`) is ignored.

| layout     | fields                              | gives                                |
|------------|-------------------------------------|--------------------------------------|
| labels     | text, label                         | `text`, `label`                      |
| qa         | question, context, answers          | the same, `answers` a list           |
| squad      | the articles of a SQuAD file        | as qa, with `title` and `id`         |
| chat       | messages, [tools]                   | `system`, `turns`, [`tools`]         |
| pairs      | prompt, [input, system], completion | `system`, `turns`                    |
| preference | [prompt], chosen, rejected          | `system`, `turns` with the chosen,   |
|            |                                     | `rejected`, the other answer         |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

from tunebook.core.errors import Problem, RowFault
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.leaves import refuse_ignored
from tunebook.data.formats.place import Numbered, fault, id_of
from tunebook.data.formats.rows.label_lists import one_label
from tunebook.data.formats.rows.preference import preference
from tunebook.data.formats.rows.prompts import chat, pairs
from tunebook.data.formats.rows.questions import questions, squad
from tunebook.data.formats.rows.row import Columns, Row, other_columns, text_of, value_of
from tunebook.data.formats.texts import text

GIVEN = ("system", "turns", "tools", "rejected", "text", "label", "question", "context", "answers", "title")
ANSWERED = ("chat", "pairs", "preference")  # layouts with an answer to learn, not only a label
Layout = Callable[[Row, Columns, bool], Iterator[Row | RowFault]]


def read_layout(
    rows: Iterator[Numbered],
    layout: str,
    columns: Columns,
    place: str,
    answered: bool = True,
    repairs: Collection[str] = (),
    reasoning: bool = False,
) -> Iterator[Numbered]:
    """Yield the rows of a file as rows for the templates, with a Problem in place of each row that cannot be
    read.

    Args:
        layout: a key of LAYOUTS.
        columns: the file's column for each field that has another name there.
        place: the file name for messages.
        answered: False for rows without an answer, as in `tunebook predict`.
        repairs: permitted changes to conversations (repairs.py), for the layout chat.
        reasoning: read the reasoning of answers (thoughts.py), in the layouts chat and pairs.
    """
    read = LAYOUTS[layout]
    if layout == "chat":
        read = partial(chat, repairs=repairs, reasoning=reasoning)
    elif layout == "pairs":
        read = partial(pairs, reasoning=reasoning)
    for number, row in rows:
        if isinstance(row, Problem):
            yield number, row
            continue
        if not isinstance(row, dict):
            message = f"expected an object (got {type(row).__name__})."
            yield number, fault(message, place, number, None, "rows.not_an_object")
            continue
        try:
            if answered:
                seen = columns.values()
                outcome = partial(_outcome, read, columns=columns)
                refuse_ignored(row, outcome, layout == "squad", seen, layout in ANSWERED)
            for made in read(row, columns, answered):
                yield number, made if isinstance(made, dict) else _problem(made, place, number, row)
        except RowFault as error:
            yield number, _problem(error, place, number, row)


def _outcome(read: Layout, row: Row, columns: Columns) -> list[Row | str]:
    """Return what a layout makes of a row, without the columns that it only passes on."""
    return [
        {name: made.get(name) for name in GIVEN} if isinstance(made, dict) else made.field + str(made)
        for made in read(row, columns, True)
    ]


def _problem(error: RowFault, place: str, number: int, row: Row) -> Problem:
    return fault(str(error), place, number, error.field, error.code, error.row or id_of(row))


def _labels(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    made = {**other_columns(row, columns), "text": text_of(row, "text", columns)}
    fields = {name: columns.get(name, name) for name in ("text", "label")}
    refuse_unread(row, {*columns.values(), "text", "label"}, answers=False, fields=fields)
    if answered:
        at = columns.get("label", "label")
        made["label"] = text(one_label(value_of(row, "label", columns), at), at)
    yield made


LAYOUTS: dict[str, Layout] = {
    "labels": _labels,
    "qa": questions,
    "squad": squad,
    "chat": chat,
    "pairs": pairs,
    "preference": preference,
}
