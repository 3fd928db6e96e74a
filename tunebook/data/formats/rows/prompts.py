"""Conversations, and prompts with answers: the layouts chat and pairs.

In: a row. Out: its system prompt, turns and tools.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats import thoughts
from tunebook.data.formats.calls.hermes import LISTED
from tunebook.data.formats.conversations import conversation, repaired_conversation
from tunebook.data.formats.fields import refuse_unread
from tunebook.data.formats.listed_texts import marks_and_texts
from tunebook.data.formats.meaning.meanings import HISTORY, SYSTEM
from tunebook.data.formats.rows.row import Columns, Row, other_columns, value_of
from tunebook.data.formats.texts import parts, text
from tunebook.data.formats.turn_forms import Turns, from_json, transcript, turns_in, turns_of
from tunebook.data.formats.values import ROLE_KEYS, dropped, is_empty, is_no, options_for, plain_name
from tunebook.data.tool_calls import listed_calls, offered
from tunebook.runs.rows import Messages

Placed = list[tuple[str, Any]]  # turns and their places in the row
BAD = frozenset("bad undesirable rejected incorrect wrong fail failed thumbs_down".split())
TWO_SYSTEMS = "differs from another system prompt of the same row. Remove one of them."


def chat(
    row: Row, columns: Columns, answered: bool, repairs: Collection[str] = (), reasoning: bool = False
) -> Iterator[Row]:
    field = columns.get("messages", "messages")
    value = value_of(row, "messages", columns)
    system, turns, done = repaired_conversation(value, field, answered, repairs, reasoning)
    system = system_of(row, columns, system)
    refuse_halves(row, {field, "tools", "functions", *columns.values()}, {"messages": field})
    made = {**other_columns(row, {"": field, **columns}), "system": system, "turns": turns}
    if done:
        made["repairs"] = done
    key = next((key for key in ("tools", "functions") if not is_empty(row.get(key))), None)
    tools = offered(row[key], key) if key else []
    # In Hermes data, the system prompt lists the tools; passing them to the template would list them twice.
    made.pop("tools", None)
    if tools and LISTED not in system:
        made["tools"] = tools
    there = {tool["function"]["name"] for tool in tools}
    for turn in turns if there else []:
        for call in turn.get("tool_calls", []):
            if (name := call["function"]["name"]) not in there:
                raise RowFault(field, f"calls {name!r}, which is not listed in {key}.", "rows.unknown_tool")
    yield made


def pairs(row: Row, columns: Columns, answered: bool, reasoning: bool = False) -> Iterator[Row]:
    at, other = (columns.get(half, half) for half in ("prompt", "completion"))
    before, prompt = history_and_prompt(row, columns)
    placed = with_answer(_answer(row, columns), prompt, other) if answered else prompt
    own = thoughts.field_of(row) if reasoning and answered else None
    if own and isinstance(placed[-1][1], dict):
        placed[-1] = (placed[-1][0], {**placed[-1][1], own: row[own]})
    first, turns = conversation(Turns(placed), at, answered, reasoning)
    if before and first not in ("", before):
        raise RowFault(at, TWO_SYSTEMS, "rows.two_systems")
    system = system_of(row, columns, before or first)
    read = {at, other, columns.get("input", "input"), "tools", *history_names(row), *columns.values()}
    refuse_halves(row, read | ({own} if own else set()), {"prompt": at, "completion": other})
    yield {**other_columns(row, columns), "system": system, "turns": turns}


def _answer(row: Row, columns: Columns) -> Any:
    """Return the answer of a row; one that only calls the tools of the row is a turn."""
    value = value_of(row, "completion", columns)
    if is_empty(row.get("tools")) or (made := listed_calls(value)) is None:
        _refuse_number(row, columns, value)
        return value
    return {"role": "assistant", "content": "", "tool_calls": made}


def _refuse_number(row: Row, columns: Columns, answer: Any) -> None:
    """Raise for the number of an answer to choose from, if these are in the prompt with letters."""
    for part in columns.get("prompt", "").split("+")[1:]:
        marks = [mark for mark, _ in marks_and_texts(row.get(part))]
        number = isinstance(answer, int) or (isinstance(answer, str) and answer.strip().isdecimal())
        if marks and number and str(answer).strip() not in marks:
            at = columns["completion"]
            message = (
                f"is the number of an answer to choose from (got {answer!r}), but they are lettered "
                f"{marks[0]} to {marks[-1]}. Write the letter, such as (in pandas) "
                f"rows[{at!r}].map(dict(enumerate('ABCDE')))."
            )
            raise RowFault(at, message, "rows.number_of_choice")


def history_and_prompt(row: Row, columns: Columns) -> tuple[str, Placed]:
    """Return the system prompt of a row's history, and the turns up to the one to be answered: the history
    and the prompt (a text or turns), including its `input`."""
    at, extra = columns.get("prompt", "prompt"), columns.get("input", "input")
    value, more = turns_in(value_of(row, "prompt", columns)), None if at == extra else row.get(extra)
    before, turns = _history(row)
    placed: Placed = [(name, turn) for name in history_names(row) for turn in turns]
    if isinstance(value, (dict, list)) and (found := turns_of(value, at)):
        if not is_empty(more):
            message = "cannot be added to a prompt of several turns. Write it into the last turn."
            raise RowFault(extra, message, "rows.not_text")
        return before, [*placed, *found.placed]
    texts = [text(value, at), *([] if is_empty(more) else [text(more, extra)])]
    return before, [*placed, (at, {"role": "user", "content": "\n\n".join(texts)})]


def system_of(row: Row, columns: Columns, first: str) -> str:
    """Return the system prompt of a row, from its first turn or from its own column.

    Raises:
        RowFault: there are two different system prompts.
    """
    names = [columns.get("system", "system"), *system_names(row)]
    given = {name: parts(row[name], name) for name in dict.fromkeys(names) if not is_empty(row.get(name))}
    for name, value in given.items():
        if first and value != first:
            raise RowFault(name, TWO_SYSTEMS, "rows.two_systems")
        first = value
    return first


def system_names(row: Row) -> list[str]:
    return [name for name in row if isinstance(name, str) and plain_name(name) in SYSTEM]


def history_names(row: Row) -> list[str]:
    """Return the name of the field with earlier turns; a second such field is refused as unread."""
    return [name for name in HISTORY if not is_empty(row.get(name))][:1]


def _history(row: Row) -> tuple[str, Messages]:
    """Return the system prompt and the turns before the prompt: question-answer pairs, as in LLaMA-Factory's
    Alpaca rows, or turns with roles."""
    name = next(iter(history_names(row)), None)
    if name is None:
        return "", []
    value = from_json(row[name], name)
    if is_empty(value):  # "[]", as a table has it
        return "", []
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


def refuse_halves(row: Row, read: set[str], fields: Mapping[str, str]) -> None:
    """Raise what `refuse_unread` raises, and raise for a boolean label that rates the answer as bad (KTO)."""
    refuse_unread(row, {*read, *system_names(row)}, fields=fields)
    for name in ("label", "labels"):
        value = row.get(name)
        by_word = isinstance(value, str) and value.strip().lower() in BAD
        if name not in read and (is_no(value) or by_word) and not is_empty(value):
            drop, kept = dropped([name]), options_for([name], value)["without" if by_word else "where"]
            message = (
                "says that the answer is bad (KTO), but it would be trained on. Train on the good rows only: "
                f"{kept}, or on all of them: --drop {drop} (DROP={drop})."
            )
            raise RowFault(name, message, "rows.meaning_not_read")


def with_answer(answer: Any, prompt: Placed, at: str) -> Placed:
    """Return the conversation that ends with `answer`: a text, a turn, or a whole conversation."""
    answer = turns_in(answer)
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str):
        answer = answer[0]
    if isinstance(answer, dict) and any(key in answer for key in ROLE_KEYS):
        return [*prompt, (at, answer)]
    if isinstance(answer, list) and all(isinstance(turn, dict) for turn in answer):
        placed = [(f"{at}[{index}]", turn) for index, turn in enumerate(answer)]
        return placed if len(placed) > 1 else [*prompt, *placed]  # trl's answers include the prompt
    answer = text(answer, at)
    if prompt:
        return [*prompt, (at, {"role": "assistant", "content": answer})]
    turns = transcript(answer)
    if not turns:
        message = (
            "expected turns, or paragraphs `Human: ...` and `Assistant: ...`, because there is no prompt. "
            "Set "
        )
        message += 'the prompt column: FIELDS="prompt=...".'
        raise RowFault(at, message, "rows.not_turns")
    return [(at, turn) for turn in turns]
