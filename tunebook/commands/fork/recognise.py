"""Recognise the layout of rows and the meaning of their columns.

In: a sample of rows. Out: a `Reading`, with the reasons. If more than one reading fits, an error lists them
and names the option that decides (`--task`, `--fields`).
"""

from __future__ import annotations

import contextlib

from tunebook.commands.fork.advice import conversions
from tunebook.commands.fork.advice.unknown import unknown
from tunebook.commands.fork.columns import (
    LABEL_LISTS,
    LAYOUT_FIELDS,
    NAMES,
    TASK_OF,
    Reading,
    call,
    label_column,
    repeats,
    wordy,
)
from tunebook.commands.fork.dialogues import holds_turns, notes_on_turns, roles_of
from tunebook.commands.fork.special_forms import (
    answered_beside,
    label_studio,
    oasst,
    pubmedqa,
    refuse_rivals,
    squad,
    xlam,
)
from tunebook.commands.fork.tables.header import check_header
from tunebook.commands.fork.tables.label_columns import (
    ambiguous_text,
    paired,
    refuse_deciding,
    refuse_other_labels,
    with_halves,
)
from tunebook.commands.fork.ways import refuse_objects, repeats_turns, way
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.formats.conversations import conversation
from tunebook.data.formats.meaning.meanings import HISTORY, SCORES, SYSTEM
from tunebook.data.formats.rows.label_lists import listed
from tunebook.data.formats.rows.picked import picked, sources
from tunebook.data.formats.rows.row import Columns, Row
from tunebook.data.formats.values import plain_name

# Read under these names only, without a place in `columns`.
READ_BY_NAME = {
    "chat": (*SYSTEM, "tools", "functions"),
    "pairs": (*SYSTEM, *HISTORY),
    "preference": (
        *SYSTEM,
        *HISTORY,
        "messages",
        "conversations",
        *(name for pair in SCORES for name in pair),
    ),
}


def recognise(
    rows: list[Row], place: str, task: str | None, fields: Columns, table: TableOptions = AS_IT_IS
) -> Reading:
    """Return how to read `rows`, a sample of a file's rows.

    Args:
        task: the task of the recipe, if known.
        fields: columns given with FIELDS=.
        table: the options that say how to read the file.

    Raises:
        InputError: no reading fits, or more than one does.
    """
    there = list(dict.fromkeys(name for row in rows for name in row))
    if table.header is None:
        check_header(rows, there, place, fields, task)
    for column in fields.values():
        if column not in there:
            text = f"{place} has no column {column!r}. It has: {', '.join(there)}."
            raise InputError(Problem(text, key="--fields (FIELDS=)", code="option.unknown_column"))
    if not fields:
        conversions.refuse_known(rows, place)
    candidates = (
        [] if fields else [*squad(rows), *oasst(rows), *label_studio(rows), *pubmedqa(rows), *xlam(rows)]
    )
    for layout, (required, optional) in LAYOUT_FIELDS.items():
        if layout != "labels" and set(fields) <= {*required, *optional}:
            candidates += _by_name(rows, there, layout, fields)
    candidates = _narrowed(candidates)
    fits = [reading for reading in candidates if task in (None, reading.task)]
    if task == "classification":
        fits = [made for reading in candidates if (made := _sorted_by(reading, rows)) is not None]
    fits = [one for one in candidates if one.layout == "labels" and task in (None, one.task)] or fits
    if not fits and set(fields) <= {"text", "label"} and task in (None, "classification"):
        fits = _labels(rows, there, place, fields)
    if not fits and not candidates and any(plain_name(name) in NAMES["label"].split() for name in there):
        with contextlib.suppress(InputError):
            candidates = _labels(rows, there, place, fields)  # to report what the rows are for
    if not fits:
        if not candidates and not fields and task in (None, "chat"):
            _refuse_halves(rows, there, place)
        raise unknown(candidates, rows, there, place, task, fields, conversions.example(rows, task))
    fits = _without_repeats(fits, rows)
    if len({reading.task for reading in fits}) > 1:
        names = ", ".join(f"TASK={reading.task} ({call(reading)})" for reading in fits)
        text = f"{place} can be read in more than one way. Choose: {names}."
        raise InputError(Problem(text, key="--task (TASK=)", code="fork.ambiguous_task"))
    if len(fits) > 1:
        names = " or ".join(way(reading, rows) for reading in fits)
        text = f"{place} can be read in more than one way. Choose: {names}."
        raise InputError(Problem(text, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))
    if fits[0].layout == "chat":
        fits = [answered_beside(rows, there, fits[0]) or fits[0]]
    if fits[0].layout == "chat" and not any(
        "assistant" in roles_of(row, fits[0].columns["messages"]) for row in rows
    ):
        raise conversions.no_answers(rows, place, fits[0].columns["messages"])
    refuse_rivals(rows, there, place, fits[0], fields)
    refuse_objects(rows, place, fits[0])
    read = {
        *sources(fits[0].columns.values()),
        *fits[0].columns.values(),
        *READ_BY_NAME.get(fits[0].layout, ()),
    }
    by_plain_name = read & {*SYSTEM, *(name for pair in SCORES for name in pair)}
    read |= {name for name in there if plain_name(name) in by_plain_name}
    if "prompt" in fits[0].columns and fits[0].layout == "preference":
        read -= {"messages", "conversations"} - {*fits[0].columns.values()}  # only read instead of a prompt
    fits[0].why.extend(notes_on_turns(rows, fits[0].columns, fits[0].layout))
    if fits[0].layout not in ("squad", "oasst_best_paths") and (
        unused := [name for name in there if name not in read]
    ):
        fits[0].why.append(f"columns not used in training: {', '.join(unused)}")
    return fits[0]


def _column(there: list[str], name: str, fields: Columns, taken: Columns) -> str | None:
    """Return the column of field `name`: the one in `fields`, or the most likely one by name."""
    if name in fields:
        return fields[name]
    used = {*taken.values(), *fields.values(), *sources(fields.values())}
    for known in NAMES[name].split():
        for column in there:
            if plain_name(column) == known and column not in used:
                return column
    return None


def _refuse_halves(rows: list[Row], there: list[str], place: str) -> None:
    """Raise for prompts without answers, and texts without prompts.

    Raises:
        InputError: the message shows what is missing.
    """
    names = {plain_name(name) for name in there}
    prompts = [name for name in there if plain_name(name) in NAMES["prompt"].split()]
    others = [
        name for name in there if name not in prompts and (wordy(rows, name) or _holds_more(rows, name))
    ]
    if prompts and not names & {*NAMES["completion"].split()} and not others:
        raise conversions.no_answers(rows, place, prompts[0])
    if names == {"text"} or names <= {"text", "id", "meta", "source", "url", "title"} and "text" in names:
        raise conversions.plain_text(rows, place)


def _holds_more(rows: list[Row], name: str) -> bool:
    return any(isinstance(row.get(name), (list, dict)) for row in rows)


def _by_name(rows: list[Row], there: list[str], layout: str, fields: Columns) -> list[Reading]:
    required, optional = LAYOUT_FIELDS[layout]
    if layout == "chat" and "messages" not in fields:
        counts = {name: sum(holds_turns(row, name) for row in rows) for name in there}
        holding = [name for name in there if counts[name] * 2 > len(rows)]
        holds = "contains lists of turns with a role and content"
        return [Reading("chat", "chat", {"messages": name}, [f"`{name}` {holds}"]) for name in holding]
    columns: Columns = {}
    for name in required:
        column = _column(there, name, fields, columns)
        # ms-swift's pairs: the conversation ends with the chosen answer
        if column is None and name == "chosen":
            column = next((at for at in there if all(holds_turns(row, at) for row in rows)), None)
        if column is None:
            return []
        columns[name] = column
    for name in optional:
        column = _column(there, name, fields, columns)
        if column is not None:
            columns[name] = column
    why = [f"`{column}` is the {name}" for name, column in columns.items()]
    return [Reading(layout, TASK_OF[layout], columns, why)]


def _narrowed(candidates: list[Reading]) -> list[Reading]:
    """Remove prompt-completion readings if the columns fit preference pairs or questions about passages."""
    layouts = {reading.layout for reading in candidates}
    if "preference" in layouts:
        return [reading for reading in candidates if reading.layout not in ("pairs", "chat")]
    if "qa" in layouts:
        return [reading for reading in candidates if reading.layout != "pairs"]
    return candidates


def _without_repeats(fits: list[Reading], rows: list[Row]) -> list[Reading]:
    """Return the readings with conversations first, and without pairs that only repeat turns of one."""
    chats = [reading for reading in fits if reading.layout == "chat"]
    others = [reading for reading in fits if reading.layout != "chat"]
    if len(chats) == 1 and len(others) == 1 and others[0].layout == "pairs":
        if repeats_turns(chats[0], others[0], rows):
            columns = " and ".join(f"`{others[0].columns[name]}`" for name in ("prompt", "completion"))
            chats[0].why.append(f"{columns} only repeat turns of `{chats[0].columns['messages']}`")
            return chats
    return [*chats, *others]


def _labels(rows: list[Row], there: list[str], place: str, fields: Columns) -> list[Reading]:
    usual, given = {*NAMES["label"].split(), *LABEL_LISTS}, rows
    lists = {name for name in there if plain_name(name) in usual or name == fields.get("label")}
    rows = [
        {name: _label_in(value) if name in lists else value for name, value in row.items()} for row in rows
    ]
    scalars = [n for n in there if all(isinstance(r.get(n), (str, int, float, type(None))) for r in rows)]
    label = fields.get("label") or label_column(rows, scalars, place, {*fields.values()})
    if label is None:
        return []
    texts = [name for name in scalars if name != label and wordy(rows, name)]
    named = [name for name in texts if plain_name(name) in NAMES["text"].split()]
    if not texts:  # texts of one word
        named = [name for name in scalars if name != label and plain_name(name) in NAMES["text"].split()]
    candidates = [fields["text"]] if "text" in fields else with_halves(named, texts) or named
    if len(candidates) > 1 and (pair := paired(candidates)):
        rows, candidates = [picked(row, [pair]) for row in rows], [pair]
    if len(candidates) > 1:
        raise ambiguous_text(candidates, label, place)
    if not candidates:
        return []
    if "text" not in fields:
        refuse_deciding(rows, scalars, candidates[0], label, place)
    if "label" not in fields:
        refuse_other_labels(given, candidates[0], label, place)
    count = len({str(row.get(label)) for row in rows})
    why = [
        f"`{label}` has {count} values in {len(rows)} sampled rows: the label",
        f"`{candidates[0]}` is the text",
    ]
    return [Reading("labels", "classification", {"text": candidates[0], "label": label}, why)]


def _label_in(value: object) -> object:
    """Return the label in a list of one. For several labels, return text: the rows are then refused by
    line."""
    found = listed(value) if isinstance(value, (list, dict)) else None
    if found is None:
        return value
    return found[0] if len(found) == 1 else str(found) if found else None


def _sorted_by(reading: Reading, rows: list[Row]) -> Reading | None:
    """Return a reading of single-turn conversations as labelled texts, if the answers are labels."""
    answers = []
    if reading.layout == "pairs":
        answers = [row.get(reading.columns["completion"]) for row in rows]
    elif reading.layout == "chat":
        for row in rows:
            try:
                turns = conversation(row.get(reading.columns["messages"]), "", answered=True)[1]
            except RowFault:
                continue  # reported when the rows are rendered
            if len(turns) != 2 or "tool_calls" in turns[1]:
                return None
            answers.append(turns[1]["content"])
    if not answers or not repeats(
        [{"answer": a} for a in answers if not isinstance(a, (dict, list))], "answer"
    ):
        return None
    why = [
        *reading.why,
        f"{len(set(map(str, answers)))} different answers in {len(rows)} rows, so they are read as labels",
    ]
    return Reading(reading.layout, "classification", reading.columns, why)
