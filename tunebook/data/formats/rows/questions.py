"""Questions about passages: the layouts qa and squad.

In: a row, or an article of a SQuAD file. Out: question, context and gold answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.conversations import text
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.place import id_of
from tunebook.data.formats.rows.row import Columns, Row, other_columns, text_of, value_of
from tunebook.data.formats.turn_forms import from_json
from tunebook.data.formats.values import is_empty


def questions(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    made: Row = {"question": text_of(row, "question", columns), "context": _passage(row, columns)}
    if answered:
        column = columns.get("answers", "answers")
        made["answers"] = _answers(value_of(row, "answers", columns), column)
        if (start := _start(row.get(column))) is not None:
            made["answer_start"] = start
    refuse_unread(row, {*columns.values(), *made, "answers"})
    yield {**other_columns(row, columns), **made}


def _passage(row: Row, columns: Columns) -> str:
    """Return the passage, which may be a list of paragraphs (PubMedQA)."""
    value, at = value_of(row, "context", columns), columns.get("context", "context")
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = "\n\n".join(part.strip() for part in value)
    return text(value, at)


def _answers(value: Any, at: str) -> list[str]:
    """Return the gold answers in a text, a list of texts or of objects with `text`, or SQuAD's object."""
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
    """Return the position of SQuAD's first answer in the passage, as the file gives it; None if it does
    not."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        first = value["answer_start"][0] if isinstance(value, dict) else value[0]["answer_start"]
        return first if isinstance(first, int) else None
    return None


def squad(article: Row, columns: Columns, answered: bool) -> Iterator[Row | RowFault]:
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
        raise RowFault(
            f"{at}.is_impossible", "is true, but the question has answers.", "rows.impossible_answered"
        )
    if not golds and item.get("is_impossible") is not True:
        raise RowFault(f"{at}.answers", "is empty, but is_impossible is not true.", "rows.no_answer")
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
