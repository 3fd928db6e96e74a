"""Fields that change what a row means: each must be read, or the row is refused.

In: a row or a turn, and the fields that its layout reads. Out: a RowFault for any other field listed below.
Most unread fields (a time, a source) do not matter for training and are only listed. Those below do: a
weight, reasoning, an image, a rating. To ignore one, the user names it in `source.drop` of dataset.yaml
(`make fork ... DROP=name`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.values import is_empty, is_true, options_for, plain_name

Row = dict[str, Any]
ROLE_KEYS = ("role", "from", "speaker", "author", "sender")


def _is_one(value: Any) -> bool:
    """Return whether a weight equals 1, the default."""
    return value is True or (isinstance(value, (int, float)) and value == 1)


def _passed(value: Any) -> bool:
    """Return whether a content filter let an answer pass, that is, whether none of its results reports a
    block."""
    if isinstance(value, dict):
        judged = [is_true(value.get(key)) for key in ("filtered", "detected", "blocked")]
        return not any(judged) and all(map(_passed, value.values()))
    if isinstance(value, list):
        return all(map(_passed, value))
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return _passed(json.loads(value))
        except ValueError:
            return False
    return not isinstance(value, str) or value.strip().lower() in PASSED


def _worded(value: Any) -> bool:
    """Return whether a value is text and not a flag, a count or the number of a case (REF-1204)."""
    if isinstance(value, list):
        return any(map(_worded, value))
    return isinstance(value, str) and not any(letter.isdigit() for letter in value.partition(" ")[0])


@dataclass(frozen=True)
class Meaning:
    """The meaning of a field, its usual names, and the alternatives to dropping it.

    `neutral` recognizes values that change nothing, such as a weight of 1. `instead` may contain `{where}`,
    `{without}`, `{good}` or `{sure}`: options that keep rows by the field.
    """

    says: str
    names: frozenset[str]
    instead: str = ""
    neutral: Callable[[Any], bool] = lambda value: False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The usual names for the two answers of a preference pair, ours first.
CHOSEN = (
    "chosen chosen_response response_chosen chosen_messages preferred_output preferred_completion preferred "
    "chosen_answer"
)
REJECTED = (
    "rejected rejected_response response_rejected rejected_messages non_preferred_output "
    "non_preferred_completion non_preferred dispreferred rejected_answer"
)
# A score for each answer, to check that they are not swapped.
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("rating_chosen", "rating_rejected"),
    ("chosen_avg_rating", "rejected_avg_rating"),
    ("chosen_reward", "rejected_reward"),
)

REFUSED = ("reject", "ignore")
REMOVED = ("deleted", "discarded", "removed")
# One answer of several to choose from: option1, choice_a, sol2, opa.
ONE_CHOICE = re.compile(r"(option|choice|sol|ending|distractor|op)_?[1-9a-e]")
LETTERS = {"A", "B", "C"}
# Answers and labels that a person wrote or checked, beside those of a model: corrected_output, label_gold.
_CHECKED = (
    "adjudicated|best|correct|corrected|edited|expected|final|fixed|gold|golden|ground_truth|human|ideal|"
    "improved|reference|reviewed|revised|rewritten|right|true|verified"
)
_ANSWER = (
    "answers?|category|class|completions?|intent|labels?|outputs?|reply|responses?|sentiment|summary|targets?|"
    "topic|translation"
)
CHECKED = re.compile(f"({_CHECKED})_({_ANSWER})|({_ANSWER})_({_CHECKED})")
CHOICES = Meaning(
    "contains the answers to choose from",
    _names("choices options endings distractors answer_choices candidate_answers"),
    "Write them into the prompt",
    lambda value: isinstance(value, list) and len(value) == 1,  # the answer in a log of an API
)

OTHER_ANSWER = Meaning(
    "is another answer or label, which may be the right one",
    _names("ground_truth groundtruth gold golden ideal expected correction corrected edited refusal"),
    "Name the one to learn with FIELDS=",
    lambda value: isinstance(value, bool),  # a mark: this row was checked
)
REFERENCE = replace(
    OTHER_ANSWER, names=_names("reference references"), neutral=lambda value: not _worded(value)
)

# Why an answer ended, in the exports of APIs: it was whole. Otherwise it was cut off, or a filter took it.
FINISHED = frozenset(
    "stop end_turn stop_sequence tool_calls tool_use function_call eos eos_token completed".split()
)
PASSED = frozenset("safe low none false passed success".split())

MEANINGS = (
    Meaning(
        "contains the assistant's reasoning",
        _names(
            "reasoning_content reasoning thinking thinking_content thought thoughts chain_of_thought cot "
            "rationale reasoning_details"
        ),
        "Write it into the answer as <think>...</think> to train on it",
        lambda value: isinstance(value, bool) or value in ("on", "off"),  # a mode, not reasoning text
    ),
    Meaning(
        "weights the loss",
        _names(
            "weight weights loss_weight sample_weight example_weight row_weight loss loss_mask mask masked "
            "train training trainable learn train_on_turn train_detail training_detail"
        ),
        "Write a weight of 0 or 1 on an assistant's turn (`weight`)",
        _is_one,
    ),
    Meaning(
        "contains earlier turns",
        _names(
            "history chat_history dialogue_history dialog_history past_turns previous_turns previous_messages"
        ),
        "Put the turns before the last one, as `messages`",
    ),
    Meaning(
        "contains a system prompt",
        _names("system_prompt system_message system_instruction sys_prompt developer developer_message"),
        "Call it `system`",
    ),
    Meaning(
        "contains images, audio or video, but only text can be trained on",
        _names(
            "image images image_url image_urls image_path image_paths img picture pictures video videos "
            "video_path audio audios audio_path speech media files attachments pixel_values objects bbox"
        ),
    ),
    Meaning(
        "rates the answer",
        _names(
            "rating ratings score scores reward rewards quality feedback vote votes upvotes downvotes "
            "preference_score helpfulness correctness overall_score"
        )
        | {name for pair in SCORES for name in pair},
        "Keep only good rows, for example with {good}",
    ),
    Meaning(
        "says how sure the answer or label is",
        _names("confidence label_confidence annotator_confidence confidence_score certainty"),
        "Keep only sure rows, for example with {sure}",
        _is_one,
    ),
    Meaning(
        "marks the row as removed",
        _names(
            "deleted is_deleted removed is_removed discarded is_discarded invalid is_invalid excluded "
            "is_excluded hidden is_hidden flagged is_flagged skipped ignored"
        ),
        "Keep the others: {without}",
        lambda value: not is_true(value),
    ),
    Meaning(
        "marks the row as removed",
        _names("status annotation_status review_status"),
        "Keep the others: {without}",
        lambda value: not isinstance(value, str) or value.strip().lower() not in REMOVED,
    ),
    Meaning(
        "says whether the answer is good (KTO)",
        _names(
            "thumbs thumbs_up kto_tag kto_label desirable is_preferred is_chosen is_safe is_correct correct "
            "is_good accepted is_accepted acceptable"
        ),
        "Train on the good rows only: {where}",
        lambda value: is_true(value),
    ),
    Meaning(
        "says whether the label is accepted (Prodigy)",
        _names("answer"),
        "Keep the accepted rows: {where}",
        lambda value: value not in REFUSED,
    ),
    Meaning(
        "says that the answer was cut off or blocked, so that it is none",
        _names("finish_reason stop_reason done_reason completion_reason"),
        """Keep the whole ones: --where "{name} == 'stop'" (WHERE="{name} == 'stop'")""",
        lambda value: isinstance(value, str) and value.strip().lower() in FINISHED,
    ),
    Meaning(
        "says that a content filter took the answer or a part of it",
        _names(
            "content_filter_results content_filter_result content_filter prompt_filter_results "
            "prompt_filter_result"
        ),
        "Remove these rows",
        _passed,
    ),
    CHOICES,
    OTHER_ANSWER,
    REFERENCE,
    Meaning(
        "sets arguments of the chat template",
        _names("chat_template_kwargs"),
        "Set `chat_template_kwargs` in recipe.yaml, for all rows",
    ),
    Meaning(
        "is the other answer of a preference pair",
        _names(f"{CHOSEN} {REJECTED}"),
        "Fork chat-dpo to train on which of two answers is better",
    ),
)
CHECKED_ANSWER = replace(OTHER_ANSWER, neutral=lambda value: False)
# These are read by every layout that can: a turn's weight, earlier turns, a system prompt.
WEIGHTS = ("weight", "loss_weight", "train", "training", "trainable", "learn", "loss")
HISTORY = ("history", "chat_history", "dialogue_history", "previous_messages")
SYSTEM = ("system", "system_prompt", "system_message", "system_instruction")
MEANING_OF = {name: meaning for meaning in MEANINGS for name in meaning.names}


@lru_cache(10_000)
def meaning_of(name: Any) -> Meaning | None:
    """Return the meaning of a field by its name, or None if the field does not matter."""
    if not isinstance(name, str):
        return None
    plain = plain_name(name)
    if ONE_CHOICE.fullmatch(plain):
        return CHOICES
    return CHECKED_ANSWER if CHECKED.fullmatch(plain) else MEANING_OF.get(plain)


def refuse_unread(row: Row, read: Collection[str | None], at: str = "") -> None:
    """Raise for a field of `row` that changes its meaning and is not read.

    Args:
        read: the fields that the layout reads.
        at: prefix of the field's name in a message, such as `messages[2].`.

    Raises:
        RowFault: there is such a field; the message names the option that drops it.
    """
    lettered = row.keys() >= LETTERS  # a question with the columns A, B, C, D
    for name, value in row.items():
        meaning = CHOICES if lettered and name in LETTERS else meaning_of(name)
        if meaning is None or name in read or is_empty(value) or meaning.neutral(value):
            continue
        raise unread(meaning, f"{at}{name}", name, value)


def unread(meaning: Meaning, at: str, drop: str, value: Any) -> RowFault:
    """Return the fault of an unread field at the place `at` with value `value`; `drop` is its name for
    DROP=."""
    alternative = meaning.instead.format(name=drop, **options_for(drop, value))
    instead = f"{alternative}, or drop it" if meaning.instead else "Drop it"
    message = (
        f"{meaning.says}, but would be ignored in training. {instead} with --drop {drop} (DROP={drop}) or "
        "`source.drop` in dataset.yaml."
    )
    return RowFault(at, message, "rows.meaning_not_read")
