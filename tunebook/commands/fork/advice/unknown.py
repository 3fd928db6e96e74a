"""Why rows are not recognised, and what to type, with a specific message for each cause."""

from __future__ import annotations

from tunebook.commands.fork.columns import LAYOUT_FIELDS, NAMES, TASK_OF, Reading, call, wordy
from tunebook.commands.fork.tables.header import is_table
from tunebook.commands.fork.ways import picked_rows, text_columns, way
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.rows.row import Columns, Row
from tunebook.data.formats.values import are_turns, is_empty, path_of_text, plain_name, typed, value_at


def unknown(
    candidates: list[Reading],
    rows: list[Row],
    there: list[str],
    place: str,
    task: str | None,
    fields: Columns,
    example: str = "",
) -> InputError:
    """Return why the rows are not recognised, and what to type, with a specific message for each cause.
    `example` shows how a row should look."""
    names = f"{', '.join(there)}"
    key, code = "DATA", "fork.unknown_columns"
    if candidates:
        kinds = " or ".join(sorted({reading.task for reading in candidates}))
        text = f"{place} has rows for the task {kinds} ({call(candidates[0]) or candidates[0].layout}), "
        text += f"but the recipe is for {task}. Fork a recipe for {kinds}, "
        text += f"set TASK={candidates[0].task}, or name the columns with FIELDS="
        text += f": {_as_chat(candidates[0], rows)}." if task == "chat" else "."
        return InputError(Problem(text, key="DATA", code="fork.other_task"))
    if fields:
        text = f"no layout consists of the fields {', '.join(fields)} only{f' for {task}' if task else ''}. "
        more = [form for form in _forms(task) if set(fields) < set(form)]
        if more:
            text += f"Name the rest, too: {_written(more, fields)}."
        else:
            text += f"There are: {_written(_forms(task), {})}."
        return InputError(Problem(text, key="--fields (FIELDS=)", code="fork.fields_of_no_layout"))
    if len(there) == 1 and any(letter in there[0] for letter in ",;|\t"):
        text = f"each line of {place} is one cell ({there[0]!r:.60}), because it is in quotes as a whole. "
        text += "Remove the quotes around the lines, or name the delimiter: DELIMITER=."
        return InputError(Problem(text, key=key, code=code))
    label = next((name for name in there if plain_name(name) in NAMES["label"].split()), None)
    values = {str(row.get(label)) for row in rows if not is_empty(row.get(label))} if label else set()
    shares = [name for name in there if _are_shares(rows, name)]
    if shares and not label and task == "classification":
        first = shares[0]
        text = f"{place} has numbers from 0 to 1 ({', '.join(shares)}), not labels. Write a column with the "
        text += f"name of a label, such as (in pandas) rows['label'] = (rows[{first!r}] >= 0.5)"
        text += f".map({{True: {first!r}, False: 'other'}}), and fork the new file."
        return InputError(Problem(text, key="DATA", code="fork.no_labels"))
    if label and task in (None, "classification"):
        key, code = label, "fork.no_labels"
        if len(values) < 2:
            text = f"every row of {place} has the same label ({next(iter(values), 'none')!r:.60}): there is "
            text += "nothing to learn. Add rows with another label."
        elif len(values) * 2 > len(rows):
            text = f"{len(values)} different values in {len(rows)} rows of {place}: a label has to repeat. "
            text += (
                f'If it is the label column all the same, name it: FIELDS="text=... label={typed(label)}".'
            )
        else:
            text = f"{place} has labels and no column of texts ({names}): none has two words or more. "
            text += f'Name it: FIELDS="text=... label={typed(label)}".'
        return InputError(Problem(text, key=key, code=code))
    if not any(wordy(rows, name) for name in there) and not any(
        isinstance(row.get(name), (list, dict)) for row in rows for name in there
    ):
        text = f"{place} has no column of texts ({names}): none has two words or more. "
        text += f"If one is meant, name it: {_written(_forms(task), {})}."
        return InputError(Problem(text, key=key, code="fork.no_texts"))
    text = f"the columns of {place} are not recognised ({names}). Name them: "
    text += f"{_guessed(rows, there, task)}."
    if inside := _inside(rows[0]):
        if are_turns(value_at(rows[0], inside)):
            inside = f'FIELDS="messages={inside}"'
        text += f" What is inside an object is named by its path: {inside}."
    usual = {name for names in NAMES.values() for name in names.split()}
    if is_table(place) and not usual & {*map(plain_name, there)}:
        text += (
            " If the first line is a row and not their names: HEADER=none, and FIELDS= with numbers, as in "
            '"text=1 label=2".'
        )
    return InputError(Problem(text + example, key=key, code=code))


def _are_shares(rows: list[Row], name: str) -> bool:
    """Return whether a column has decimal numbers from 0 to 1, as the shares of annotators are."""
    there = [row[name] for row in rows if row.get(name) is not None]
    values = [value for value in there if isinstance(value, float) and 0 <= value <= 1]
    return len(values) == len(there) and any(0 < value < 1 for value in values)


def _as_chat(reading: Reading, rows: list[Row]) -> str:
    """Return the options that read questions on passages, or labelled texts, as prompts with answers."""
    columns = reading.columns
    if reading.layout == "qa":
        pair = {
            "prompt": f"{columns['context']}+{columns['question']}",
            "completion": columns["answers"],
        }
        return way(Reading("pairs", "chat", pair), rows)
    if reading.layout == "labels":
        return f'FIELDS="prompt={typed(columns["text"])} completion={typed(columns["label"])}"'
    return 'FIELDS="prompt=... completion=..."'


def _guessed(rows: list[Row], there: list[str], task: str | None) -> str:
    """Return FIELDS= for the layouts of `task`, filled in with the columns that have a usual name or are the
    only ones left with texts."""
    texts = text_columns(rows, there)
    if task in (None, "chat") and len(texts) > 1:
        usual = [name for name in texts if plain_name(name) in NAMES["prompt"].split()]
        prompt = (usual or texts)[0]
        others = [name for name in texts if name != prompt and not _repeats(rows, name, prompt)][:2]
        made = [
            Reading("pairs", "chat", {"prompt": prompt, "completion": completion}) for completion in others
        ]
        if made:
            return " or ".join(way(reading, rows) for reading in made)
    known = {
        field: column
        for field in NAMES
        for column in there
        if plain_name(column) in NAMES[field].split() and (field != "text" or column in texts)
    }
    if "text" not in known and texts:
        known["text"] = texts[0]
    return _written(_forms(task), known)


def _repeats(rows: list[Row], name: str, other: str) -> bool:
    """Return whether a column only repeats a part of another, or contains it."""
    both = zip(picked_rows(rows, name), picked_rows(rows, other), strict=False)
    pairs = [(str(row.get(name) or ""), str(more.get(other) or "")) for row, more in both]
    return all(one in two or two in one for one, two in pairs)


def _inside(row: Row) -> str:
    """Return the path of the longest text inside an object of a row, or ""."""
    path = path_of_text({name: value for name, value in row.items() if not isinstance(value, str)})
    return path if path and "." in path else ""


def _forms(task: str | None) -> list[tuple[str, ...]]:
    return [LAYOUT_FIELDS[layout][0] for layout in LAYOUT_FIELDS if task in (None, TASK_OF[layout])]


def _written(forms: list[tuple[str, ...]], fields: Columns) -> str:
    """Return FIELDS= for each of `forms`, with the columns given by the user."""
    said = [
        " ".join(f"{name}={typed(fields[name]) if name in fields else '...'}" for name in form)
        for form in forms
    ]
    return " or ".join(f'FIELDS="{one}"' for one in said)
