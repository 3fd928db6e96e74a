"""Fields that change what a row means: each is read, or the row is refused.

In: a row or a turn, and the fields that its layout reads. Out: a RowFault for any other field below. Most
unread fields (a time, a source) do not matter for training and are only listed. Those below do: a weight, a
thought, an image, a rating. To leave one out, a person names it in `source.drop` of dataset.yaml (`make fork
... DROP=name`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tunebook.core.errors import RowFault

Row = dict[str, Any]


def _is_one(value: Any) -> bool:
    """Return whether a weight equals the default of 1."""
    return value is True or (isinstance(value, (int, float)) and value == 1)


@dataclass(frozen=True)
class Meaning:
    """The meaning of a field, its usual names, and what to do other than leaving it out.

    `neutral` recognizes values that change nothing, such as a weight of 1.
    """

    says: str
    names: frozenset[str]
    instead: str = ""
    neutral: Callable[[Any], bool] = lambda value: False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MEANINGS = (
    Meaning(
        "holds the assistant's reasoning",
        _names(
            "reasoning_content reasoning thinking thinking_content thought thoughts chain_of_thought cot "
            "rationale reasoning_details"
        ),
        "Write it into the answer as <think>...</think> to train on it",
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
        "holds earlier turns",
        _names(
            "history chat_history dialogue_history dialog_history past_turns previous_turns previous_messages"
        ),
        "Put the turns in front of the last one, as `messages`",
    ),
    Meaning(
        "holds a system prompt",
        _names("system_prompt system_message system_instruction sys_prompt developer developer_message"),
        "Call it `system`",
    ),
    Meaning(
        "holds images, audio or video, and only text is trained",
        _names(
            "image images image_url image_urls image_path image_paths img picture pictures video videos "
            "video_path audio audios audio_path speech media files attachments pixel_values"
        ),
    ),
    Meaning(
        "rates the answer",
        _names(
            "rating ratings score scores reward rewards quality thumbs thumbs_up feedback vote votes upvotes "
            "downvotes kto_tag kto_label desirable is_preferred preference_score score_chosen score_rejected "
            "chosen_score rejected_score"
        ),
        "Keep good rows only with source.where",
    ),
    Meaning(
        "is the other half of a preference pair",
        _names(
            "rejected rejected_response response_rejected rejected_answer chosen chosen_response "
            "response_chosen"
        ),
        "Fork chat-dpo to learn which of two answers is better",
    ),
)
# Read by every layout that can: a turn's weight, turns before the prompt, a system prompt.
WEIGHTS = ("weight", "loss_weight", "train", "training", "trainable", "learn")
HISTORY = ("history", "chat_history", "dialogue_history", "previous_messages")
SYSTEM = ("system", "system_prompt", "system_message", "system_instruction")
MEANING_OF = {name: meaning for meaning in MEANINGS for name in meaning.names}


def plain_name(name: str) -> str:
    """Return a field's name in lower case with underscores, like the names above."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def is_empty(value: Any) -> bool:
    """Return whether a value is empty: null, NaN, whitespace, an empty list or object."""
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def refuse_unread(row: Row, read: Collection[str | None], at: str = "") -> None:
    """Refuse a field of `row` that changes its meaning and is not read.

    Args:
        read: the fields that the layout reads.
        at: prefix of the field's name in a message, such as `messages[2].`.

    Raises:
        RowFault: there is such a field; names the option that leaves it out.
    """
    for name, value in row.items():
        meaning = MEANING_OF.get(plain_name(name)) if isinstance(name, str) else None
        if meaning is None or name in read or is_empty(value) or meaning.neutral(value):
            continue
        instead = f"{meaning.instead}, or leave" if meaning.instead else "Leave"
        raise RowFault(
            f"{at}{name}",
            f"{meaning.says}, but would be ignored in training. {instead} it out: --drop {name} "
            f"(DROP={name}), or `source.drop` in dataset.yaml.",
            code="rows.meaning_not_read",
        )


def without_fields(row: Any, names: Collection[str]) -> Any:
    """Return `row` without the fields called `names`, at the top and inside its turns."""
    if isinstance(row, dict):
        return {key: without_fields(value, names) for key, value in row.items() if key not in names}
    return [without_fields(item, names) for item in row] if isinstance(row, list) else row
