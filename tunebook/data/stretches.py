"""Compare the trained parts of a row with what should be trained on.

In: the tokens and labels that Axolotl makes of a row. Out: what is wrong with each supervised turn. The check
of the prompt contract (tunebook/data/tokenize.py) looks at the last turn only, token by token; this looks at
all of them, by their text. And the kinds of turn that rows have, so that a few rows of each kind say what
becomes of all.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Any, cast

from tunebook.data.thinking.form import Form
from tunebook.runs.rows import Messages, RenderedRow, Turn

SEED = 42
IGNORED = -100  # the label of a token that is not trained on
EACH = 50  # rows of each kind of turn whose mask Axolotl itself makes
EMPTY_LEARNED = "an empty think block is trained on before its text."
MARKED = re.compile(r"<\|[^|\s]{1,40}\|>|\[/?INST\]|</?(?:s|think|tool_call|start_of_turn|end_of_turn)>")


def turn_kinds(row: RenderedRow) -> set[Hashable]:
    """Return the kind of each turn of a row: all that a template or a tokenizer can treat it by, beside its
    very words. That is its role and those beside it, its weight, its calls, whether the row has tools and
    whether a user still follows; and of its text whether it is empty, what it begins and ends with (a letter,
    a number, a space, a sign: its first and last tokens may join the template's), marks as of templates,
    letters that a tokenizer may write another way, and whether the same text stands earlier in the row.
    """
    turns = row["messages"]
    asked = [place for place, turn in enumerate(turns) if turn["role"] == "user"]
    roles = [None, *(turn["role"] for turn in turns), None]
    shared = (bool(row.get("tools")), "rejected" in row, asked[-1] if asked else -1)
    seen: list[str] = []
    found: set[Hashable] = set()
    for place, turn in enumerate(turns):
        text = turn["content"]
        again = turn["role"] == "assistant" and any(text in one for one in seen)
        written = (_letter(text[:1]), _letter(text[-1:]), bool(MARKED.search(text)), again)
        form = text.isascii() or unicodedata.is_normalized("NFKC", text)
        own = (turn.get("weight") == 0, len(turn.get("tool_calls", ())))
        found.add((*roles[place : place + 3], *own, *written, form, *shared[:2], place > shared[2]))
        seen.append(text)
    return found


def _letter(letter: str) -> str:
    """Return what kind a letter is: its Unicode category, "" for none; a line break is not any space."""
    return letter if letter in ("", "\n") else unicodedata.category(letter)[0]


def of_every_kind(rows: Sequence[RenderedRow], most: int, each: int = EACH) -> tuple[list[int], int, int]:
    """Return the numbers of rows that have `each` rows of every kind of turn (all, where there are fewer),
    `most` at most; how many kinds the rows have; and of how many kinds not one row is among them."""
    kinds = [turn_kinds(row) for row in rows]
    order = [*range(len(rows))]
    random.Random(SEED).shuffle(order)  # rows of a file that is sorted are alike
    every = set[Hashable]().union(*kinds)
    counts: Counter[Hashable] = Counter()
    chosen: list[int] = []
    for wanted in (1, each):  # the first of every kind goes before the second of any
        taken = {*chosen}
        for number in order:
            some = kinds[number]
            if len(chosen) < most and number not in taken and any(counts[kind] < wanted for kind in some):
                chosen.append(number)
                counts.update(some)
    return sorted(chosen), len(every), len(every - counts.keys())


def learned(ids: list[int], labels: list[int]) -> list[list[int]]:
    """Return the contiguous runs of token ids that are trained on."""
    runs = groupby(zip(ids, labels, strict=True), lambda pair: pair[1] != IGNORED)
    return [[id for id, _ in run] for is_learned, run in runs if is_learned]


def supervised(row: RenderedRow, last_only: bool, form: Form | None = None) -> Messages:
    """Return the assistant turns of a row that should be trained on; for a preference pair, the last turn.

    Args:
        form: how the template writes reasoning, if it is learned; the content of turns then begins with it.
    """
    turns = [turn for turn in row["messages"] if turn["role"] == "assistant"]
    turns = turns[-1:] if last_only else [turn for turn in turns if turn.get("weight") != 0]
    return [cast(Turn, {**turn, "content": form.learned(turn)}) for turn in turns] if form else turns


def lacks(rendered: str, row: RenderedRow, end: str) -> str | None:
    """Return what the rendered text of a row lacks of the answers to be learned, or None: each answer must
    occur in full, after the previous one, and the last one must be followed by the end-of-turn token `end`.
    Calls and reasoning are not compared, because templates write them in their own form. The check is a text
    search, cheap enough for every row; Axolotl's own mask takes a hundred times as long.
    """
    at = 0
    turns = supervised(row, "rejected" in row)
    for number, turn in enumerate(turns, 1):
        text = turn["content"].strip()
        if "tool_calls" in turn or "</think>" in text:
            continue
        while (at := rendered.find(text, at)) >= 0:
            at += len(text)
            if number < len(turns) or rendered[at : at + len(end) + 2].lstrip().startswith(end):
                break  # otherwise, the match may be the same text inside a prompt
        if at < 0:
            behind = f", followed by {end!r}" if number == len(turns) else ""
            return f"the rendered text does not contain assistant turn {number} unchanged{behind}."
    return None


def plain_text(text: str) -> str:
    """Return a text as it is compared: without whitespace, because templates trim it, and with its letters
    composed in one way, because tokenizers normalize them."""
    return "".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).split())


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids of all special tokens of a tokenizer."""
    added = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def faults(
    tokenizer: Any,
    row: RenderedRow,
    ids: list[int],
    labels: list[int],
    last_only: bool = False,
    form: Form | None = None,
    exact: bool = False,
) -> list[str]:
    """Return what is wrong with the trained parts of a row, or [].

    Args:
        last_only: the row is one answer of a preference pair.
        form: as for `supervised`.
        exact: as for `turn_faults`.
    """
    return turn_faults(tokenizer, supervised(row, last_only, form), ids, labels, exact)


def turn_faults(
    tokenizer: Any, turns: Messages, ids: list[int], labels: list[int], exact: bool = False
) -> list[str]:
    """Return what is wrong with the trained parts of a row, or []: each part must be exactly one of `turns`
    with all of its text, without a special token of the template before its end.

    Args:
        exact: an empty think block before an answer must not be trained on.
    """
    special = special_ids(tokenizer)
    runs = learned(ids, labels)
    if len(runs) != len(turns):
        return [
            f"{len(runs)} separate parts of the row are trained on, but there are {len(turns)} turns to "
            "train on."
        ]
    found = []
    for number, (run, turn) in enumerate(zip(runs, turns, strict=True), 1):
        end = text_end(tokenizer, special, run, turn)
        text = tokenizer.decode(run[:end], clean_up_tokenization_spaces=False)
        inside = {tokenizer.decode([id]) for id in run[:end] if id in special}
        # A token in the row's own text is reported as such (tunebook/check/marks.py).
        inside = {token for token in inside if token not in turn["content"]}
        problem = _differs(text, turn, exact)
        if inside and problem != EMPTY_LEARNED:
            token = min(inside)
            found.append(f"assistant turn {number}: {token!r} is trained on in the middle of the answer.")
        elif problem:
            found.append(f"assistant turn {number}: {problem}")
    return found


def text_end(tokenizer: Any, special: set[int], run: list[int], turn: Turn) -> int:
    """Return how many tokens of a trained run are its text: those before the special tokens and the
    whitespace at its end, except special tokens with which the turn's own text ends."""
    end = len(run)
    while end and (run[end - 1] in special or not tokenizer.decode([run[end - 1]]).strip()):
        end -= 1
    wanted = plain_text(turn["content"])
    while end < len(run) and wanted.startswith(plain_text(tokenizer.decode(run[: end + 1]))):
        end += 1
    return end


def _differs(text: str, turn: Turn, exact: bool) -> str:
    """Return how a trained text differs from its turn, "" if it does not, as `plain_text` compares them. For
    calls, only the names are checked, because each template writes calls in its own form."""
    got, wanted = plain_text(text), plain_text(turn["content"])
    if calls := turn.get("tool_calls"):
        names = Counter(call["function"]["name"] for call in calls)
        missing = [name for name, times in names.items() if text.count(name) < times]
        if missing:
            return f"the call of {missing[0]!r} is not trained on."
        return "" if wanted in got else f"its text is not trained on: {turn['content'][:60]!r}."
    if got == wanted:
        return ""
    if "</think>" in wanted and got == wanted.partition("</think>")[2]:
        return "the template removes its reasoning (<think>)."
    empty = re.fullmatch(r"<think></think>(.*)", got, re.DOTALL)
    if empty and empty[1] == wanted:
        return EMPTY_LEARNED if exact else ""
    at = next((n for n, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(got), len(wanted)) if at is None else at
    return f"the trained text is {got[at : at + 30]!r} where the row has {wanted[at : at + 30]!r}."
