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

from collections.abc import Callable, Iterator
from typing import Any

from tunebook.core.errors import Problem, RowFault
from tunebook.data.formats.conversations import conversation, from_json, text, transcript, turns_in
from tunebook.data.formats.fields import HISTORY, SYSTEM, is_empty, refuse_unread
from tunebook.data.formats.place import Numbered, fault
from tunebook.data.tool_calls import offered

Row = dict[str, Any]
Columns = dict[str, str]


def read_layout(
    rows: Iterator[Numbered], layout: str, columns: Columns, place: str, answered: bool = True
) -> Iterator[Numbered]:
    """Yield the rows of a file as rows for the templates, and a Problem for each row that cannot be read.

    Args:
        layout: a key of LAYOUTS.
        columns: the file's column of each field that has another name there.
        place: the file, for messages.
        answered: False for rows without an answer, as `tunebook predict` reads them.
    """
    read = LAYOUTS[layout]
    for number, row in rows:
        if isinstance(row, Problem):
            yield number, row
            continue
        if not isinstance(row, dict):
            message = f"expected an object (got {type(row).__name__})."
            yield number, fault(message, place, number, None, "rows.not_an_object")
            continue
        try:
            for made in read(row, columns, answered):
                yield number, made
        except RowFault as error:
            yield number, fault(str(error), place, number, error.field, error.code)


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
    made = {name: _text(row, name, columns) for name in ("question", "context")}
    if answered:
        column = columns.get("answers", "answers")
        made["answers"] = _answers(_value(row, "answers", columns), column)  # type: ignore[assignment]
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


def _squad(article: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    """Yield a row for each question of a SQuAD 1.1 or 2.0 article."""
    title = text(article.get("title"), "title") if article.get("title") else None
    for p, paragraph in enumerate(_list(article, "paragraphs", "")):
        at = f"paragraphs[{p}]"
        context = text(paragraph.get("context"), f"{at}.context")
        for q, item in enumerate(_list(paragraph, "qas", f"{at}.")):
            here = f"{at}.qas[{q}]"
            made = {"title": title or context, "context": context}
            made["question"] = text(item.get("question"), f"{here}.question")
            if item.get("id") not in (None, ""):
                made["id"] = str(item["id"])
            if answered:
                made["answers"] = _golds(item, context, here)
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


def _chat(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    field = columns.get("messages", "messages")
    system, turns = conversation(_value(row, "messages", columns), field, answered)
    system = _system(row, columns, system)
    _refuse_halves(row, {field, "tools", "functions", *SYSTEM, *columns.values()})
    made = {**_others(row, {"": field, **columns}), "system": system, "turns": turns}
    key = next((key for key in ("tools", "functions") if row.get(key)), None)
    if key:
        made["tools"] = offered(row[key], key)
        there = {tool["function"]["name"] for tool in made["tools"]}
        for turn in turns:
            for call in turn.get("tool_calls", []):
                if (name := call["function"]["name"]) not in there:
                    raise RowFault(
                        field, f"calls {name!r}, which is not listed in {key}.", "rows.unknown_tool"
                    )
    yield made


def _pairs(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    prompt = [_text(row, "prompt", columns)]
    more = row.get(columns.get("input", "input"))
    if not is_empty(more):
        prompt.append(text(more, columns.get("input", "input")))
    before, turns = _history(row)
    turns.append({"role": "user", "content": "\n\n".join(prompt)})
    if answered:
        turns.append({"role": "assistant", "content": _text(row, "completion", columns)})
    history = [name for name in HISTORY if not is_empty(row.get(name))][:1]  # a second one is refused
    _refuse_halves(row, {"prompt", "input", "completion", *SYSTEM, *history, *columns.values()})
    yield {**_others(row, columns), "system": _system(row, columns, before), "turns": turns}


def _system(row: Row, columns: Columns, first: str) -> str:
    """Return the system prompt of a row: from its first turn or from its own column.

    Raises:
        RowFault: there are two, and they differ.
    """
    names = dict.fromkeys([columns.get("system", "system"), *SYSTEM])
    given = {name: text(row[name], name) for name in names if not is_empty(row.get(name))}
    for name, value in given.items():
        if first and value != first:
            message = "differs from another system prompt of the same row. Remove one of them."
            raise RowFault(name, message, "rows.two_systems")
        first = value
    return first


def _history(row: Row) -> tuple[str, list[Row]]:
    """Return the system prompt and the turns before the prompt: question-answer pairs, as in LLaMA-Factory's
    Alpaca rows, or turns with roles."""
    name = next((name for name in HISTORY if not is_empty(row.get(name))), None)
    if name is None:
        return "", []
    value = from_json(row[name], name)
    if not isinstance(value, list):
        raise RowFault(name, "expected a list of [question, answer] pairs or of turns.", "rows.bad_history")
    if all(isinstance(item, dict) for item in value):
        return conversation(value, name, answered=True)
    turns = []
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            message = f"expected a [question, answer] pair (got {pair!r:.80})."
            raise RowFault(f"{name}[{index}]", message, "rows.bad_history")
        for place, role in enumerate(("user", "assistant")):
            turns.append({"role": role, "content": text(pair[place], f"{name}[{index}][{place}]")})
    return "", turns


def _refuse_halves(row: Row, read: set[str]) -> None:
    """Refuse what `refuse_unread` refuses, and a boolean label that rates the answer (KTO)."""
    refuse_unread(row, read)
    for name in ("label", "labels"):
        if name not in read and isinstance(row.get(name), bool):
            raise RowFault(
                name,
                "rates the answer (KTO), but every answer would be trained on. Keep the good answers with "
                f"source.where, or train on all of them: --drop {name} (DROP={name}).",
                "rows.meaning_not_read",
            )


def _preference(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    """Yield the conversation that ends with the chosen answer, and the rejected answer."""
    names = [columns.get("prompt", "prompt"), "messages", "conversations"]
    name = next((name for name in names if not is_empty(row.get(name))), None)
    value, prompt = turns_in(row.get(name)) if name else None, []
    if isinstance(value, list):
        prompt = list(value)
        if name == columns.get("chosen"):  # ms-swift's: the conversation with the chosen answer at its end
            del prompt[-1]
    elif value is not None:
        prompt = [{"role": "user", "content": value}]
    at, other = (columns.get(half, half) for half in ("chosen", "rejected"))
    chosen = _with_answer(_value(row, "chosen", columns), prompt, at) if answered else prompt
    system, turns = conversation(chosen, at, answered)
    if any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        message = "preference tuning does not support tool calls. Remove these rows."
        raise RowFault(at, message, "rows.tools_in_pairs")
    refuse_unread(row, {at, other, *names, *SYSTEM, *columns.values()})
    made = {**_others(row, {**columns, "": at}), "system": _system(row, columns, system), "turns": turns}
    if answered:
        rejected = _value(row, "rejected", columns)  # may be empty where only the chosen is learned
        whole = [] if is_empty(rejected) else _with_answer(rejected, prompt, other)
        made["rejected"] = _rejected(whole, turns, other) if whole else ""
    yield made


def _rejected(rejected: list[Any], chosen: list[Row], at: str) -> str:
    """Return the rejected answer.

    Raises:
        RowFault: the conversations differ before their last turn, so they answer different prompts.
    """
    turns = conversation(rejected, at, True)[1]
    if [turn["content"] for turn in turns[:-1]] != [turn["content"] for turn in chosen[:-1]]:
        message = (
            "differs from the chosen conversation before the last turn. A pair is one prompt with two "
            "answers: cut both conversations after the first answer that differs."
        )
        raise RowFault(at, message, "rows.pair_diverges")
    return turns[-1]["content"]


def _with_answer(answer: Any, prompt: list[Any], at: str) -> list[Any]:
    """Return the conversation that ends with `answer`: a text, a turn, or a whole conversation."""
    answer = turns_in(answer)
    if isinstance(answer, dict):
        return [*prompt, answer]
    if isinstance(answer, list):
        return answer if len(answer) > 1 else [*prompt, *answer]  # trl's include the prompt
    if not prompt:
        return transcript(text(answer, at))
    return [*prompt, {"role": "assistant", "content": text(answer, at)}]


LAYOUTS: dict[str, Callable[[Row, Columns, bool], Iterator[Row]]] = {
    "labels": _labels,
    "qa": _qa,
    "squad": _squad,
    "chat": _chat,
    "pairs": _pairs,
    "preference": _preference,
}
