"""Row formats recognised by more than their column names, and columns that compete for the same field.

In: a sample of rows. Out: a reading, or an error if two columns could be the same field.
"""

from __future__ import annotations

from tunebook.commands.fork.columns import NAMES, Reading, wordy
from tunebook.commands.fork.dialogues import last_role
from tunebook.commands.fork.ways import way
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.rows.row import Columns, Row
from tunebook.data.formats.turn_forms import BEST_PATH
from tunebook.data.formats.values import is_empty, plain_name
from tunebook.data.tool_calls import listed_calls


def squad(rows: list[Row]) -> list[Reading]:
    if rows and all(isinstance(row.get("paragraphs"), list) and "question" not in row for row in rows):
        return [Reading("squad", "qa", {}, ["articles with `paragraphs` and `qas`: a SQuAD file"])]
    return []


def oasst(rows: list[Row]) -> list[Reading]:
    """Recognise the flat messages of OpenAssistant, each with the id of its parent."""
    names = ("message_id", "parent_id", "message_tree_id", "role", "text")
    if rows and all(name in row for row in rows for name in names):
        return [Reading("oasst_best_paths", "chat", {}, [f"messages of OpenAssistant: {BEST_PATH}"])]
    return []


def pubmedqa(rows: list[Row]) -> list[Reading]:
    """Recognise PubMedQA: its own file of objects by id, and the table on the Hub."""
    for question, context, inside in (("QUESTION", "CONTEXTS", ""), ("question", "context", "contexts")):
        if rows and all(name in row for row in rows for name in (question, context, "final_decision")):
            if inside and not all(isinstance(row[context], dict) and inside in row[context] for row in rows):
                continue
            path = f"{context}.{inside}" if inside else context
            columns = {"question": question, "context": path, "answers": "final_decision"}
            return [Reading("qa", "qa", columns, ["PubMedQA: the final decision is the answer"])]
    return []


def xlam(rows: list[Row]) -> list[Reading]:
    """Recognise xLAM's function calls: a query, the tools, and the calls that answer it."""
    names = ("query", "answers", "tools")
    if rows and all(all(name in row for name in names) and listed_calls(row["answers"]) for row in rows):
        columns = {"prompt": "query", "completion": "answers"}
        return [Reading("pairs", "chat", columns, ["xLAM's function calls: `answers` are the calls"])]
    return []


def label_studio(rows: list[Row]) -> list[Reading]:
    """Recognise the JSON export of Label Studio: a task with its `data`, and an annotator's choice."""
    if not rows or not all(
        isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list) for row in rows
    ):
        return []
    kinds = {
        result.get("type")
        for row in rows
        for one in row["annotations"]
        for result in (one.get("result") or [] if isinstance(one, dict) else [])
        if isinstance(result, dict)
    }
    texts = [name for name in rows[0]["data"] if wordy([row["data"] for row in rows], name)]
    if kinds != {"choices"} or len(texts) != 1:
        return []
    columns = {"text": f"data.{texts[0]}", "label": "annotations.result.value.choices"}
    return [
        Reading("labels", "classification", columns, ["an export of Label Studio, with one choice per task"])
    ]


def answered_beside(rows: list[Row], there: list[str], reading: Reading) -> Reading | None:
    """Return a reading of conversations that end with the user and whose answer is in another column."""
    turns = reading.columns["messages"]
    answers = [name for name in there if name != turns and plain_name(name) in NAMES["completion"].split()]
    if len(answers) != 1 or not all(last_role(row, turns) in (None, "user") for row in rows):
        return None
    columns = {"prompt": turns, "completion": answers[0]}
    why = [f"`{turns}` ends with the user, so it is the prompt and `{answers[0]}` the completion"]
    return Reading("pairs", "chat", columns, why)


def refuse_rivals(rows: list[Row], there: list[str], place: str, reading: Reading, fields: Columns) -> None:
    """Raise if another column has the usual name of a prompt or answer, too, and other texts, one of which
    would not be learned.

    Raises:
        InputError: the message shows how to learn both, or one.
    """
    if reading.layout not in ("pairs", "preference"):
        return
    columns = reading.columns
    for field, kinds in (("prompt", ("prompt", "input")), ("completion", ("completion",))):
        if field not in columns or field in fields:
            continue
        usual = {name for kind in kinds for name in NAMES[kind].split()}
        learned = [columns[name] for name in ("prompt", "input", "completion") if name in columns]
        for name in there:
            if plain_name(name) not in usual or name in columns.values():
                continue
            if all(is_empty(row.get(name)) or _said_already(row, name, learned) for row in rows):
                continue
            both = {**columns, field: f"{columns[field]}+{name}"}
            other = {**columns, field: name}
            choices = [Reading(reading.layout, reading.task, one) for one in (columns, other, both)]
            ways = " or ".join(way(one, rows) for one in choices)
            text = (
                f"more than one column of {place} could be the {field} ({columns[field]}, {name}). Choose: "
            )
            text += f"{ways}."
            raise InputError(Problem(text, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))


def _said_already(row: Row, name: str, learned: list[str]) -> bool:
    """Return whether the content of a column also occurs in the learned columns."""
    return any(str(row[name]).strip() in str(row.get(column)) for column in learned)
