"""Questions about passages: the layouts qa and squad.

In: a row, or an article of a SQuAD file. Out: question, context and gold answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.listed_texts import passage
from tunebook.data.formats.place import id_of
from tunebook.data.formats.rows.label_lists import quoted_list
from tunebook.data.formats.rows.row import Columns, Row, other_columns, text_of, value_of
from tunebook.data.formats.texts import text
from tunebook.data.formats.turn_forms import from_json
from tunebook.data.formats.values import (
    dropped,
    is_empty,
    is_no,
    is_true,
    options_for,
    plain_name,
)

IMPOSSIBLE = frozenset("is_impossible impossible unanswerable is_unanswerable no_answer".split())
POSSIBLE = frozenset("answerable is_answerable has_answer".split())


def questions(row: Row, columns: Columns, answered: bool) -> Iterator[Row]:
    made: Row = {"question": text_of(row, "question", columns), "context": _passage(row, columns)}
    if answered:
        column = columns.get("answers", "answers")
        made["answers"] = _answers(value_of(row, "answers", columns), column)
        if (start := _start(row.get(column))) is not None:
            made["answer_start"] = start
        if made["answers"]:
            _refuse_unanswerable(row, columns)
    fields = {name: columns.get(name, name) for name in ("question", "context", "answers")}
    refuse_unread(row, {*columns.values(), *made, "answers"}, answers=False, fields=fields)
    yield {**other_columns(row, columns), **made}


def _passage(row: Row, columns: Columns) -> str:
    """Return the passage, which may be a list of paragraphs (listed_texts.py)."""
    value, at = value_of(row, "context", columns), columns.get("context", "context")
    return text(value if isinstance(value, str) else passage(value) or value, at)


def _refuse_unanswerable(row: Row, columns: Columns) -> None:
    """Raise if a field says that the question has no answer, although it has one."""
    for name, value in row.items():
        plain = plain_name(str(name))
        if name in columns.values() or is_empty(value):
            continue
        if (plain in IMPOSSIBLE and is_true(value)) or (plain in POSSIBLE and is_no(value)):
            options = options_for([name], value)
            keep = options["where" if plain in POSSIBLE else "without"]
            drop = dropped([name])
            message = (
                "says that the question has no answer, but it has one. Empty its answers, keep the "
                "other rows "
                f"({keep}), or ignore the field with --drop {drop} (DROP={drop})."
            )
            raise RowFault(str(name), message, "rows.impossible_answered")


def _answers(value: Any, at: str) -> list[str]:
    """Return the gold answers in a text, a list of texts or of objects with `text`, or SQuAD's object."""
    if isinstance(value, str) and (found := quoted_list(value)) is not None:
        value = found  # a list as pandas writes it into a table
    value = from_json(value, at)
    if isinstance(value, dict) and isinstance(value.get("spans"), list):
        return [_only_span(value["spans"], f"{at}.spans")]
    if isinstance(value, dict) and isinstance(value.get("aliases"), list) and "value" in value:  # TriviaQA
        return list(dict.fromkeys([text(value["value"], f"{at}.value"), *map(str, value["aliases"])]))
    if isinstance(value, dict):
        if "text" not in value:
            return [text(value, at)]  # which names what is inside
        value = value["text"]
        at += ".text"
    if is_empty(value):
        return []
    if not isinstance(value, list):
        return [text(value, at)]
    return [
        text(item.get("text") if isinstance(item, dict) else item, f"{at}[{index}]")
        for index, item in enumerate(value)
    ]


def _only_span(spans: list[Any], at: str) -> str:
    """Return the answer of DROP, whose list has the parts of one answer, not several answers.

    Raises:
        RowFault: there are several parts.
    """
    parts = list(dict.fromkeys(text(span, f"{at}[{index}]") for index, span in enumerate(spans)))
    if len(parts) != 1:
        kept = f"{at}|unique|list|length == 1"
        message = (
            f"has {len(parts)} parts of one answer (got {parts!r:.60}), but an answer is one text. Keep the "
            f'other rows: --where "{kept}" (WHERE="{kept}").'
        )
        raise RowFault(at, message, "rows.several_inside")
    return parts[0]


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
