"""Row layouts: the fields that the rows of a file have, and how each layout becomes template fields.

In: a raw row, as a file has it. Out: one or more rows for the templates of dataset.yaml, or a Problem that
names the file's own column. `source.reader` names the layout, `source.columns` maps its fields to the columns
of the file. A column mapped to a name that no layout has (`ignored: id`) is left out.

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

import contextlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from tunebook.core.errors import Problem, RowFault
from tunebook.data.formats.conversations import conversation, parts, repaired_conversation, text
from tunebook.data.formats.fields import (
    HISTORY,
    SCORES,
    SYSTEM,
    is_empty,
    is_false,
    kept_where,
    plain_name,
    refuse_unread,
)
from tunebook.data.formats.hermes import LISTED
from tunebook.data.formats.leaves import refuse_ignored
from tunebook.data.formats.place import Numbered, fault, id_of
from tunebook.data.formats.turn_forms import Turns, from_json, transcript, turns_in, turns_of
from tunebook.data.tool_calls import offered
from tunebook.runs.rows import Messages

Row = dict[str, Any]
Columns = dict[str, str]
Placed = list[tuple[str, Any]]  # turns and where they stand in the row
GIVEN = ("system", "turns", "tools", "rejected", "text", "label", "question", "context", "answers", "title")
Layout = Callable[[Row, Columns, bool], Iterator[Row | RowFault]]


def read_layout(
    rows: Iterator[Numbered],
    layout: str,
    columns: Columns,
    place: str,
    answered: bool = True,
    repairs: Collection[str] = (),
) -> Iterator[Numbered]:
    """Yield the rows of a file as rows for the templates, and a Problem for each row that cannot be read.

    Args:
        layout: a key of LAYOUTS.
        columns: the file's column of each field that has another name there.
        place: the file, for messages.
        answered: False for rows without an answer, as `tunebook predict` reads them.
        repairs: what may be changed in conversations (repairs.py), for the layout chat.
    """
    read = partial(_chat, repairs=repairs) if layout == "chat" else LAYOUTS[layout]
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
                refuse_ignored(row, lambda one: _outcome(read, one, columns), top=layout == "squad")
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


def _value(row: Row, name: str, columns: Columns) -> Any:
    column = columns.get(name, name)
    if column not in row:
        raise RowFault(column, "missing.", "rows.missing_field")
    return row[column]


def _text(row: Row, name: str, columns: Columns) -> str:
    return text(_value(row, name, columns), columns.get(name, name))


def _others(row: Row, columns: Columns) -> Row:
    """Return the columns of the row that the layout did not read."""
    return {key: value for key, value in row.items() if key not in columns.values()}


def _labels(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    made = {**_others(row, columns), "text": _text(row, "text", columns)}
    refuse_unread(row, {*columns.values(), "text", "label"})
    yield {**made, "label": _text(row, "label", columns)} if answered else made


def _qa(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    made: Row = {name: _text(row, name, columns) for name in ("question", "context")}
    if answered:
        column = columns.get("answers", "answers")
        made["answers"] = _answers(_value(row, "answers", columns), column)
        if (start := _start(row.get(column))) is not None:
            made["answer_start"] = start
    refuse_unread(row, {*columns.values(), *made, "answers"})
    yield {**_others(row, columns), **made}


def _answers(value: Any, at: str) -> list[str]:
    """Return the gold answers of a text, a list of texts or of objects with `text`, or SQuAD's object."""
    value = from_json(value, at)
    if isinstance(value, dict):
        value = value.get("text")
        at += ".text"
    if is_empty(value):
        return []
    if not isinstance(value, list):
        return [text(value, at)]
    return [
        text(item.get("text") if isinstance(item, dict) else item, f"{at}[{index}]")
        for index, item in enumerate(value)
    ]


def _start(value: Any) -> int | None:
    """Return where SQuAD's first answer stands in the passage, as the file says; None if it does not."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        first = value["answer_start"][0] if isinstance(value, dict) else value[0]["answer_start"]
        return first if isinstance(first, int) else None
    return None


def _squad(article: Row, columns: Columns, answered: bool) -> Iterator[Row | RowFault]:
    """Yield a row for each question of a SQuAD 1.1 or 2.0 article, or its fault."""
    title = text(article.get("title"), "title") if article.get("title") else None
    for p, paragraph in enumerate(_list(article, "paragraphs", "")):
        at = f"paragraphs[{p}]"
        context = text(paragraph.get("context"), f"{at}.context")
        for q, item in enumerate(_list(paragraph, "qas", f"{at}.")):
            here = f"{at}.qas[{q}]"
            made: Row = {"title": title or context, "context": context}
            try:
                made["question"] = text(item.get("question"), f"{here}.question")
                if answered:
                    made["answers"] = _golds(item, context, here)
                    made["answer_start"] = _start(item["answers"])
            except RowFault as error:
                error.row = id_of(item)
                yield error  # the other questions of the article can be read
                continue
            if item.get("id") not in (None, ""):
                made["id"] = str(item["id"])
            yield made


def _golds(item: Row, context: str, at: str) -> Any:
    golds = _answers(_list(item, "answers", f"{at}."), f"{at}.answers")
    if item.get("is_impossible") and golds:
        raise RowFault(f"{at}.is_impossible", "true, but there are answers.", "rows.impossible_answered")
    if not golds and item.get("is_impossible") is not True:
        raise RowFault(f"{at}.answers", "empty, but is_impossible is not true.", "rows.no_answer")
    for index, gold in enumerate(golds):
        if gold not in context:
            message = f"not found in the context (got {gold!r})."
            raise RowFault(f"{at}.answers[{index}]", message, "rows.answer_not_in_context")
    return golds


def _list(row: Row, name: str, at: str) -> list[Row]:
    value = row.get(name)
    if not isinstance(value, list) or (name != "answers" and not all(isinstance(v, dict) for v in value)):
        raise RowFault(f"{at}{name}", "expected a list of objects.", "rows.not_objects")
    return value


def _chat(row: Row, columns: Columns, answered: bool, repairs: Collection[str] = ()) -> Iterator[Row]:
    field = columns.get("messages", "messages")
    value = _value(row, "messages", columns)
    system, turns, done = repaired_conversation(value, field, answered, repairs)
    system = _system(row, columns, system)
    _refuse_halves(row, {field, "tools", "functions", *columns.values()})
    made = {**_others(row, {"": field, **columns}), "system": system, "turns": turns}
    if done:
        made["repairs"] = done
    key = next((key for key in ("tools", "functions") if not is_empty(row.get(key))), None)
    tools = offered(row[key], key) if key else []
    # Hermes: the system prompt lists the tools; to pass them to the template would list them twice.
    made.pop("tools", None)
    if tools and LISTED not in system:
        made["tools"] = tools
    there = {tool["function"]["name"] for tool in tools}
    for turn in turns if there else []:
        for call in turn.get("tool_calls", []):
            if (name := call["function"]["name"]) not in there:
                raise RowFault(field, f"calls {name!r}, which is not listed in {key}.", "rows.unknown_tool")
    yield made


def _pairs(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    at, other = (columns.get(half, half) for half in ("prompt", "completion"))
    before, asked = _asked(row, columns)
    placed = _with_answer(_value(row, "completion", columns), asked, other) if answered else asked
    first, turns = conversation(Turns(placed), at, answered)
    if before and first not in ("", before):
        raise RowFault(at, TWO_SYSTEMS, "rows.two_systems")
    system = _system(row, columns, before or first)
    _refuse_halves(row, {at, other, columns.get("input", "input"), *_history_names(row), *columns.values()})
    yield {**_others(row, columns), "system": system, "turns": turns}


def _asked(row: Row, columns: Columns) -> tuple[str, Placed]:
    """Return the system prompt of a row's history, and the turns up to the one to be answered: its history
    and its prompt, a text or turns, with the `input` that belongs to it."""
    at, extra = columns.get("prompt", "prompt"), columns.get("input", "input")
    value, more = turns_in(_value(row, "prompt", columns)), None if at == extra else row.get(extra)
    before, turns = _history(row)
    placed: Placed = [(name, turn) for name in _history_names(row) for turn in turns]
    if isinstance(value, (dict, list)) and (found := turns_of(value, at)):
        if not is_empty(more):
            message = "cannot be added to a prompt of several turns. Write it into the last one."
            raise RowFault(extra, message, "rows.not_text")
        return before, [*placed, *found.placed]
    texts = [text(value, at), *([] if is_empty(more) else [text(more, extra)])]
    return before, [*placed, (at, {"role": "user", "content": "\n\n".join(texts)})]


TWO_SYSTEMS = "differs from another system prompt of the same row. Remove one of them."


def _system(row: Row, columns: Columns, first: str) -> str:
    """Return the system prompt of a row: from its first turn or from its own column.

    Raises:
        RowFault: there are two, and they differ.
    """
    names = [columns.get("system", "system"), *_system_names(row)]
    given = {name: parts(row[name], name) for name in dict.fromkeys(names) if not is_empty(row.get(name))}
    for name, value in given.items():
        if first and value != first:
            raise RowFault(name, TWO_SYSTEMS, "rows.two_systems")
        first = value
    return first


def _system_names(row: Row) -> list[str]:
    return [name for name in row if isinstance(name, str) and plain_name(name) in SYSTEM]


def _history_names(row: Row) -> list[str]:
    """Return the field of the earlier turns; a second one is refused as not read."""
    return [name for name in HISTORY if not is_empty(row.get(name))][:1]


def _history(row: Row) -> tuple[str, Messages]:
    """Return the system prompt and the turns before the prompt: question-answer pairs, as in LLaMA-Factory's
    Alpaca rows, or turns with roles."""
    name = next(iter(_history_names(row)), None)
    if name is None:
        return "", []
    value = from_json(row[name], name)
    if not isinstance(value, list):
        raise RowFault(name, "expected a list of [question, answer] pairs or of turns.", "rows.bad_history")
    if not all(isinstance(item, dict) for item in value):
        pairs = []
        for index, pair in enumerate(value):
            if not isinstance(pair, list) or len(pair) != 2:
                message = f"expected a [question, answer] pair (got {pair!r:.80})."
                raise RowFault(f"{name}[{index}]", message, "rows.bad_history")
            pairs.append([text(pair[half], f"{name}[{index}][{half}]") for half in (0, 1)])
        value = pairs
    return conversation(value, name, answered=True)


def _refuse_halves(row: Row, read: set[str]) -> None:
    """Refuse what `refuse_unread` refuses, and a boolean label that rates the answer (KTO) as a bad one."""
    refuse_unread(row, {*read, *_system_names(row)})
    for name in ("label", "labels"):
        if name not in read and is_false(row.get(name)):
            message = (
                "says that the answer is a bad one (KTO), but it would be trained on. Train on the good rows "
                f"only: {kept_where(name, row[name])}, or on all of them: --drop {name} (DROP={name})."
            )
            raise RowFault(name, message, "rows.meaning_not_read")


def _preference(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    """Yield the conversation that ends with the chosen answer, and the rejected answer."""
    own = columns.get("prompt", "prompt")
    names = [own, "messages", "conversations"]
    name = next((name for name in names if not is_empty(row.get(name))), None)
    at, other = (columns.get(half, half) for half in ("chosen", "rejected"))
    before, prompt = "", list[tuple[str, Any]]()
    if name:
        before, prompt = _asked(row, {**columns, "prompt": name})
        if name == columns.get("chosen"):  # ms-swift's: the conversation with the chosen answer at its end
            del prompt[-1]
    _refuse_tools(row, name)
    chosen = _with_answer(_value(row, "chosen", columns), prompt, at) if answered else prompt
    system, turns = conversation(Turns(chosen), at, answered)
    if any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        raise RowFault(at, NO_TOOLS, "rows.tools_in_pairs")
    scores = _scores(row) if answered else []
    read = {at, other, *names, *_history_names(row), *_system_names(row), *columns.values(), *scores}
    refuse_unread(row, {*read, columns.get("input", "input")})
    made = {**_others(row, {**columns, "": at}), "turns": turns}
    made["system"] = _system(row, columns, before or system)
    if answered:
        rejected = _value(row, "rejected", columns)  # may be empty where only the chosen is learned
        whole = [] if is_empty(rejected) else _with_answer(rejected, prompt, other)
        made["rejected"] = _rejected(whole, turns, other) if whole else ""
    yield made


NO_TOOLS = "preference tuning does not support tool calls. Remove these rows."


def _refuse_tools(row: Row, name: str | None) -> None:
    """Refuse the tools of a pair: those of the row, and those in OpenAI's `input`."""
    inside = row.get(name) if name else None
    for at, holder in (("", row), (f"{name}.", inside)):
        for key in ("tools", "functions"):
            value = holder.get(key) if isinstance(holder, dict) else None
            if not is_empty(value) and value != "[]":
                raise RowFault(f"{at}{key}", NO_TOOLS, "rows.tools_in_pairs")


def _scores(row: Row) -> list[str]:
    """Return the fields that score both answers, after a look at whether they agree with the pair. A tie is
    taken as agreement.

    Raises:
        RowFault: the rejected answer has the higher score.
    """
    named = {plain_name(name): name for name in row if isinstance(name, str)}
    for chosen, rejected in ((named.get(a, a), named.get(b, b)) for a, b in SCORES):
        pair = [row.get(chosen), row.get(rejected)]
        if all(isinstance(score, (int, float)) and not isinstance(score, bool) for score in pair):
            if row[chosen] < row[rejected]:
                message = (
                    f"the chosen answer scores {row[chosen]}, the rejected one {row[rejected]}. Swap them, "
                    f'keep the other pairs (--where "{chosen} >= {rejected}", WHERE=), or ignore the scores '
                    f'(--drop "{chosen} {rejected}", DROP=).'
                )
                raise RowFault(chosen, message, "rows.scores_disagree")
            return [chosen, rejected]
    return []


def _rejected(rejected: Placed, chosen: Messages, at: str) -> str:
    """Return the rejected answer.

    Raises:
        RowFault: the conversations differ before their last turn, so they answer different prompts.
    """
    turns = conversation(Turns(rejected), at, True)[1]
    if [turn["content"] for turn in turns[:-1]] != [turn["content"] for turn in chosen[:-1]]:
        message = (
            "differs from the chosen conversation before the last turn. A pair is one prompt with two "
            "answers: cut both conversations after the first answer that differs."
        )
        raise RowFault(at, message, "rows.pair_diverges")
    return turns[-1]["content"]


def _with_answer(answer: Any, prompt: Placed, at: str) -> Placed:
    """Return the conversation that ends with `answer`: a text, a turn, or a whole conversation."""
    answer = turns_in(answer)
    if isinstance(answer, dict):
        return [*prompt, (at, answer)]
    if isinstance(answer, list) and all(isinstance(turn, dict) for turn in answer):
        placed = [(f"{at}[{index}]", turn) for index, turn in enumerate(answer)]
        return placed if len(placed) > 1 else [*prompt, *placed]  # trl's include the prompt
    answer = text(answer, at)
    if prompt:
        return [*prompt, (at, {"role": "assistant", "content": answer})]
    turns = transcript(answer)
    if not turns:
        message = "expected turns, or paragraphs `Human: ...` and `Assistant: ...`, as there is no prompt."
        raise RowFault(at, message, "rows.not_turns")
    return [(at, turn) for turn in turns]


LAYOUTS: dict[str, Layout] = {
    "labels": _labels,
    "qa": _qa,
    "squad": _squad,
    "chat": _chat,
    "pairs": _pairs,
    "preference": _preference,
}
