"""Formats that are recognised but cannot be read: what they are, and an example of how a row should look.

In: a sample of rows. Out: an error that shows a row as it is and as it should be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from tunebook.commands.fork.advice.exports import advice, export_of
from tunebook.commands.fork.columns import NAMES
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.listed_texts import marks_and_texts
from tunebook.data.formats.meaning.meaning_of import meaning_of
from tunebook.data.formats.meaning.meanings import CHOICES
from tunebook.data.formats.rows.row import Row
from tunebook.data.formats.turn_forms import ROLE_OF, TEXT_KEYS
from tunebook.data.formats.values import ROLE_KEYS, plain_name, typed

SHORT = 60  # maximum length of a text shown in a message
TALKS = frozenset(
    "conversation_id dialogue_id dialog_id conv_id convo_id thread_id session_id ticket_id".split()
)
TEXT_LISTS = frozenset("patterns examples utterances phrases training_phrases samples queries texts".split())
CLASS = frozenset("tag intent label name class category topic".split())
ENOUGH = 0.9  # share of the sampled rows that have the format


@dataclass(frozen=True)
class Format:
    """A format: `fits` recognises a row, `made` converts it; None if there is only advice."""

    what: str
    fits: Callable[[Row], bool]
    made: Callable[[Row], Row | None]
    do: str = "Convert each row"


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: all(row.get(name) is not None for name in names)


def _pair(prompt: Any, answers: tuple[Any, Any], second_is_better: bool) -> Row:
    chosen, rejected = answers[::-1] if second_is_better else answers
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _safe(row: Row) -> Row:
    better = row.get("better_response_id", row.get("safer_response_id"))
    return _pair(row["prompt"], (row["response_0"], row["response_1"]), better == 1)


def _scored(row: Row) -> list[Row]:
    """Return the answers in a list of scored or ranked ones, the best first."""
    answers: Any = next((row[key] for key in ("completions", "answers", "responses") if row.get(key)), [])
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        return []

    def worse(answer: Row) -> float:
        try:
            rank = answer.get("rank")
            score = answer.get("overall_score", answer.get("score", answer.get("fine-grained_score")))
            return float(rank) if rank is not None else -float(score)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return float("inf")

    return sorted(answers, key=worse) if any(worse(answer) < float("inf") for answer in answers) else []


def _best_and_worst(row: Row) -> Row | None:
    found = _scored(row)
    texts = [next((a[k] for k in ("response", "answer", "text", "content") if k in a), None) for a in found]
    prompt = next((row[key] for key in ("instruction", "prompt", "question") if row.get(key)), None)
    return _pair(prompt, (texts[0], texts[-1]), False) if len(texts) > 1 else None


def _rendered(row: Row) -> bool:
    text = row.get("text")
    marks = ("<|im_start|>", "[INST]", "<|start_header_id|>", "<start_of_turn>", "### Instruction:")
    return isinstance(text, str) and any(mark in text for mark in marks) and len(row) <= 2


def _instance(row: Row) -> Row | None:
    """Return the first instance of a Self-Instruct task as an Alpaca row."""
    first = row["instances"][0]
    return {"instruction": row["instruction"], "input": first.get("input", ""), "output": first["output"]}


def _are_places(value: Any) -> bool:
    """Return whether a value is a list of start, end and label, as entities are annotated."""
    if not isinstance(value, list) or not value:
        return False
    return all(
        (isinstance(one, dict) and {"start", "end"} <= one.keys())
        or (isinstance(one, list) and len(one) == 3 and list(map(type, one[:2])) == [int, int])
        for one in value
    )


def _has_label(row: Row) -> bool:
    """Return whether a row has a label for its whole text (Rasa: an intent beside the entities)."""
    return any(
        isinstance(value, str) and value.strip() and plain_name(name) in NAMES["label"].split()
        for name, value in row.items()
    )


def _listed_texts(row: Row) -> tuple[str, str] | None:
    """Return the columns of a list of texts and of their label in a row that is one class."""
    texts = next((name for name in row if plain_name(name) in TEXT_LISTS and _are_texts(row[name])), None)
    label = next((name for name in row if plain_name(name) in CLASS and isinstance(row[name], str)), None)
    return (texts, label) if texts and label else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _exploded(row: Row) -> Row | None:
    found = _listed_texts(row)
    return {"text": row[found[0]][0], "label": row[found[1]]} if found else None


def _flat_names(row: Row) -> tuple[str, str] | None:
    """Return the columns of the speaker and the conversation's id in a row that is one turn."""
    role = next((key for key in row if plain_name(key) in ROLE_KEYS), None)
    group = next((key for key in row if plain_name(key) in TALKS), None)
    known = role is not None and str(row[role]).strip().lower() in ROLE_OF
    texts = any(isinstance(row.get(key), str) for key in TEXT_KEYS)
    return (role, group) if role and group and known and texts else None


def _options(row: Row) -> list[str]:
    """Return the answers to choose from of a row: each in its column, or a list without the letters that
    another column names."""
    said = [str(row[name]) for name in row if plain_name(name) in RIGHT and row[name] is not None]
    if not said or len(said[0]) > 2:
        return []
    texts = [str(row[name]) for name in row if OPTION.fullmatch(plain_name(name)) and row[name] is not None]
    if len(texts) > 1:
        return texts
    lists = [marks_and_texts(row[name]) for name in row if meaning_of(name) is CHOICES]
    marked = next((one for one in lists if one), [])
    return [] if said[0] in {mark for mark, _ in marked} else [text for _, text in marked]


def _lettered(row: Row) -> Row:
    texts = _options(row)
    asked = [row[name] for name in row if plain_name(name) in ASKED and isinstance(row[name], str)]
    lines = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False)]
    return {"prompt": "\n".join([*asked[:1], *lines]), "completion": "A"}


def _stated(row: Row) -> Row:
    answers = (row["response1"], row["response2"])
    prompt = row.get("context", row.get("prompt"))
    return _pair(prompt, answers, float(row["overall_preference"]) > 0)


def _natural(row: Row) -> Row | None:
    """Return a row of Natural Questions as a question on a passage."""
    text = row.get("question_text") or row["question"].get("text")
    return {"question": text, "context": "the long answer's text", "answers": ["the short answer's text"]}


def _asked_in_turn(row: Row) -> Row | None:
    """Return the questions on one passage as a conversation (CoQA, QuAC)."""
    found = row["answers"]
    lists: list[Any] = next(
        (found[name] for name in ("input_text", "texts") if isinstance(found.get(name), list)), []
    )
    answers = [one[0] if isinstance(one, list) and one else one for one in lists]
    asked = [f"{row.get('story') or row.get('context')}\n\n{row['questions'][0]}", *row["questions"][1:]]
    turns = []
    for question, answer in zip(asked, answers, strict=False):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns} if turns else None


OPTION = re.compile(r"(answer|option|choice|ending|sol|op)_?[0-9a-e]")
RIGHT = frozenset("label answer cop correct correct_option answer_key gold target".split())
ASKED = frozenset("question prompt goal ctx sentence premise sent1".split())
ANSWER = "the answer that should be learned"
MADE_OF_TURNS: Row = {
    "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": ANSWER}]
}
FORMATS = (
    Format(
        "two answers and the number of the better one (PKU-SafeRLHF)",
        _has("response_0", "response_1"),
        _safe,
        'Name the column of that number: FIELDS="better=better_response_id" for the more helpful answer, '
        'FIELDS="better=safer_response_id" for the safer one. Or convert each row',
    ),
    Format(
        "PKU-SafeRLHF: two answers and the number of the better one", _has("response_0", "response_1"), _safe
    ),
    Format(
        "several answers with scores or ranks; use the best and the worst as a pair",
        lambda row: bool(_scored(row)),
        _best_and_worst,
    ),
    Format(
        "answers to choose from without their letters, and the number or letter of the right one",
        lambda row: bool(_options(row)),
        _lettered,
        "Write the answers into the prompt, each with its letter, and the letter as the completion",
    ),
    Format(
        "two answers and a number that says which is better (HelpSteer3: below 0 is the first)",
        _has("response1", "response2", "overall_preference"),
        _stated,
        "Convert each row, without those of 0",
    ),
    Format(
        "Natural Questions, whose answers are places in the tokens of a page",
        lambda row: (
            "annotations" in row
            and ("long_answer_candidates" in row or isinstance(row.get("document"), dict))
        ),
        _natural,
        "Write a row for each question with a short answer",
    ),
    Format(
        "several questions on one passage, of which later ones need the earlier (CoQA, QuAC); a conversation "
        "has them in order, for FROM=chat-lora",
        lambda row: (
            isinstance(row.get("questions"), list)
            and isinstance(row.get("answers"), dict)
            and bool(row["questions"])
        ),
        _asked_in_turn,
    ),
    Format(
        "a transcript with <functioncall> (Glaive v2)",
        lambda row: isinstance(row.get("chat"), str) and "ASSISTANT:" in row["chat"],
        lambda row: MADE_OF_TURNS,
        "Write each part as a turn, calls as `tool_calls`, and the functions as `tools` of the row. "
        "llamafactory/glaive_toolcall_en on the Hub has such rows as turns",
    ),
    Format(
        "Self-Instruct tasks: an instruction with several instances",
        lambda row: (
            isinstance(instances := row.get("instances"), list)
            and bool(instances)
            and all(isinstance(one, dict) and "output" in one for one in instances)
            and isinstance(row.get("instruction"), str)
        ),
        _instance,
        "Write a row for each instance",
    ),
    Format(
        "labelled spans in texts (entities), which are not supported: only one label per text can be learned",
        lambda row: (
            any(_are_places(row.get(key)) for key in ("label", "labels", "entities", "spans"))
            and not _has_label(row)
        ),
        lambda row: None,
        "Give each text one label",
    ),
    Format(
        "a list of texts for each label",
        lambda row: _listed_texts(row) is not None,
        _exploded,
        "Write a row for each text (in pandas: .explode(name))",
    ),
    Format(
        "one turn per row, with the conversation's id",
        lambda row: _flat_names(row) is not None,
        lambda row: MADE_OF_TURNS,
        "Join the rows of each conversation, in their order (in pandas: groupby(id)[[role, text]].apply("
        "lambda rows: rows.to_dict('records')))",
    ),
    Format(
        "step-by-step supervision (a label for each step), which is not supported",
        lambda row: all(isinstance(row.get(key), list) for key in ("completions", "labels")),
        lambda row: {"prompt": row.get("prompt"), "completion": "\n".join(map(str, row["completions"]))},
        "To learn the steps as one answer, convert each row whose labels are all true",
    ),
    Format(
        "token ids; the text is needed instead, because the base model's own template formats it",
        _has("input_ids"),
        lambda row: MADE_OF_TURNS,
        "Use the file that the token ids were made from",
    ),
    Format(
        "segments in Axolotl's input_output format, already formatted with a template",
        lambda row: isinstance(row.get("segments"), list),
        lambda row: MADE_OF_TURNS,
        "Write the turns without the template's tokens",
    ),
    Format(
        "text already formatted with a chat template; the base model's own template would format it again",
        _rendered,
        lambda row: MADE_OF_TURNS,
        "Write the turns without the template's tokens",
    ),
    Format(
        "an export of ChatGPT: a tree of messages by id (`mapping`)",
        lambda row: isinstance(row.get("mapping"), dict),
        lambda row: MADE_OF_TURNS,
        "Follow `parent` from `current_node`, and write the turns in order",
    ),
)


def refuse_known(rows: list[Row], place: str) -> None:
    """Raise for rows in one of the formats above.

    Raises:
        InputError: the message shows the first such row as it is and as it should be.
    """
    if (export := export_of(rows)) is not None:
        raise InputError(Problem(advice(export, place), key="DATA", code="fork.needs_conversion"))
    for known in FORMATS:
        fitting = [row for row in rows if known.fits(row)]
        if fitting and len(fitting) >= ENOUGH * len(rows):
            row, made = next(
                ((row, made) for row in fitting if (made := known.made(row)) is not None), (fitting[0], None)
            )
            raise _needed(place, known.what, known.do, row, made)


def example(rows: list[Row], task: str | None) -> str:
    """Return a description of a row with unknown columns and of what a row for `task` looks like; "" for a
    task whose rows may have any names."""
    if task not in ("chat", "preference"):
        return ""
    return f" Or convert each row to {_shown(MADE_OF_TURNS)}; the first row is {_shown(rows[0])}."


def no_answers(rows: list[Row], place: str, prompt: str) -> InputError:
    """Return the error for prompts without answers, as used for reinforcement learning; `prompt` is their
    column."""
    what = "prompts without answers, as used for reinforcement learning, which is not supported"
    row = rows[0]
    turns = next((value for value in row.values() if isinstance(value, list)), None)
    if turns:
        made: Row = {"messages": [*turns, {"role": "assistant", "content": ANSWER}]}
    else:
        made = {**row, "completion": ANSWER}
    do = "Add the answer to learn to each row, or name its column if there is one: "
    do += f'FIELDS="prompt={typed(prompt)} completion=..."'
    return _needed(place, what, do, row, made)


def plain_text(rows: list[Row], place: str) -> InputError:
    """Return the error for texts without a question, as used for continued pretraining."""
    what = "texts without prompt and answer, as used for continued pretraining, which is not supported"
    made = {"prompt": "...", "completion": rows[0].get("text")}
    return _needed(place, what, "Write a prompt for each text", rows[0], made)


def _needed(place: str, what: str, do: str, row: Row, made: Row | None) -> InputError:
    text = f"{place} has {what}. {do}"
    if made is not None:
        text += f". Now: {_shown(row)} Should be: {_shown(made)}"
    return InputError(Problem(text, key="DATA", code="fork.needs_conversion"))


def _shown(value: Any) -> str:
    return json.dumps(_cut(value), ensure_ascii=False, default=str)


def _cut(value: Any) -> Any:
    """Return `value` with long texts and lists shortened for a message."""
    if isinstance(value, str):
        return value if len(value) <= SHORT else value[:SHORT] + "..."
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in [*value.items()][:8]}
    return [_cut(item) for item in value[:3]] if isinstance(value, list) else value
