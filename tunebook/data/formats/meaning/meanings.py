"""The meanings of fields that change what a row means, with their usual names.

In: nothing. Out: `MEANINGS`; meaning_of.py finds the one of a field. Most fields (a time, a source) do not
matter for training. Those below do: a weight, reasoning, an image, a rating. fields.py refuses a row in which
one of them is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tunebook.data.formats.meaning.value_kinds import (
    has_no_tools,
    is_mark,
    is_no_weight,
    is_one,
    is_short,
    passed,
    worded,
)
from tunebook.data.formats.values import is_no, is_true


@dataclass(frozen=True)
class Meaning:
    """The meaning of a field, its usual names, and the alternatives to dropping it.

    `pattern` matches further names, in lower case with underscores. `neutral` recognizes values that change
    nothing, such as a weight of 1. `instead` may contain `{where}`, `{without}`, `{none}`, `{good}`, `{sure}`
    or `{best}`: options that keep rows by the field. With `of_answers`, the field only matters beside an
    answer, not beside a label. With `text`, it does not matter if its text is also in a learned field.
    """

    says: str
    names: frozenset[str] = frozenset()
    instead: str = ""
    neutral: Callable[[Any], bool] = lambda value: False
    pattern: re.Pattern[str] | None = None
    of_answers: bool = False
    text: bool = False

    @property
    def selects(self) -> bool:
        """Whether a person may choose rows by the field, with WHERE=."""
        return SELECTS.search(self.instead) is not None


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

SELECTS = re.compile(r"\{(name|where|without|none|good|sure|best)\}")
REFUSED = ("reject", "ignore")
REMOVED = (
    "deleted",
    "discarded",
    "removed",
    "rejected",
    "invalid",
    "skipped",
    "draft",
    "trashed",
    "retracted",
)
THINKING = ("analysis", "commentary", "thinking", "reasoning", "thought")  # channels of an answer
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
# Another text that may be the answer: gpt4_response, completion_2, human_output.
ANOTHER = re.compile(
    r"\w+_(answer|response|completion|reply)s?|response|completion|reply|output|solution|(answer|response|completion|reply|output)_?(\d|[a-e]|v\d+)"
    r"|(model|gpt\w*|claude\w*|llm|human|expert|original|old|new|previous|alternative|alt|second|draft|suggested)"
    r"_(output|solution)s?"
)
# A column about another column: sentiment_confidence, choose_one_gold, golden_result.
ABOUT = re.compile(
    r"(?P<stem>\w+?)_(?P<what>confidence|certainty|agreement|gold|golden|ground_truth)"
    r"|(?P<before>gold|golden)_(?P<after>\w+)"
)
_LOSS = "(training|train|loss|finetuning|fine_tuning|finetune|sft)"
AS_THOUGHT = (
    "As `reasoning_content` of an answer, or between <think> and </think> in it, learn it with --thinking "
    "keep (THINKING=keep) or only show it with --thinking mask (THINKING=mask)"
)
AS_WEIGHT = "Write a weight of 0 or 1 on an assistant's turn (`weight`)"
GOOD_ONLY = "Keep only good rows, for example with {good}"
SURE_ONLY = "Keep only sure rows, for example with {sure}"
CHOICES = Meaning(
    "contains the answers to choose from",
    _names("choices options endings distractors answer_choices candidate_answers"),
    "{join}",
    lambda value: isinstance(value, list) and len(value) == 1,  # the answer in a log of an API
)

OTHER_ANSWER = Meaning(
    "is another answer or label, which may be the right one",
    _names("ground_truth groundtruth gold golden ideal expected correction corrected edited refusal"),
    "Name the one to learn with FIELDS=",
    is_mark,
)
REFERENCE = replace(
    OTHER_ANSWER, names=_names("reference references"), neutral=lambda value: not worded(value)
)

# Why an answer ended, in the exports of APIs: it was whole. Otherwise it was cut off, or a filter took it.
FINISHED = frozenset(
    "stop end_turn stop_sequence tool_calls tool_use function_call eos eos_token completed".split()
)

MEANINGS = (
    Meaning(
        "contains the assistant's reasoning",
        _names(
            "reasoning_content reasoning thinking thinking_content thoughts chain_of_thought cot rationale "
            "reasoning_details"
        ),
        AS_THOUGHT,
        lambda value: isinstance(value, bool) or value in ("on", "off"),  # a mode, not reasoning text
    ),
    Meaning(  # Gemini marks a part of a turn with `thought: true`
        "contains the assistant's reasoning",
        _names("thought is_thought"),
        AS_THOUGHT,
        lambda value: value is False or value in ("on", "off"),
    ),
    Meaning(  # deepseek_thinking_trajectory, reasoning_trace; not reasoning_effort or thinking_budget
        "contains the assistant's reasoning",
        instead=AS_THOUGHT,
        neutral=is_short,
        pattern=re.compile(
            r"(\w+_)?(reasoning|thinking|thoughts?|cot|rationales?|scratchpad|monologue)(_\w+)?"
        ),
        text=True,
    ),
    Meaning(
        "says that the turn is the assistant's reasoning",
        _names("channel"),
        AS_THOUGHT,
        lambda value: not isinstance(value, str) or value.strip().lower() not in THINKING,
        of_answers=True,
    ),
    Meaning(
        "weights the loss",
        _names(
            "weight weights loss_weight sample_weight example_weight row_weight loss loss_mask mask masked "
            "train training trainable learn train_on_turn train_detail training_detail"
        ),
        AS_WEIGHT,
        is_one,
    ),
    Meaning(  # include_in_loss, use_for_training
        "weights the loss",
        instead=AS_WEIGHT,
        neutral=is_no_weight,
        pattern=re.compile(
            rf"(\w+_)?(trainable|learnable|supervised)|(use|used|include|included|in|do|for|is)(_\w+)?_{_LOSS}"
        ),
    ),
    Meaning(  # exclude_from_training, no_loss
        "weights the loss",
        instead=AS_WEIGHT,
        neutral=lambda value: not is_true(value),
        pattern=re.compile(rf"(exclude|excluded|skip|ignore|no|not|drop|mask|masked)(_\w+)?_{_LOSS}"),
    ),
    Meaning(
        "contains earlier turns",
        _names(
            "history chat_history dialogue_history dialog_history past_turns previous_turns "
            "previous_messages "
            "conversation_history message_history context_messages prior_messages earlier_messages"
        ),
        "Put the turns before the last one, as `messages`",
    ),
    Meaning(  # QuAC
        "says that the question continues a dialogue, whose earlier questions and answers it may need",
        _names("yesno"),
        "Write the earlier ones before the question",
    ),
    Meaning(
        "contains text that the answer may depend on",
        _names(
            "context contexts documents document retrieved_documents retrieved_docs retrieved_contexts "
            "retrieved_context retrieved_passages passages passage paragraph article story persona personas "
            "personality scenario knowledge evidence background"
        ),
        "{join}",
        is_short,
        text=True,
    ),
    Meaning(
        "offers tools to call",
        _names("tools functions tool_definitions function_definitions available_tools"),
        "Write them as `tools` beside the turns of the row",
        has_no_tools,
    ),
    Meaning(
        "contains a system prompt",
        _names(
            "system_prompt system_message system_instruction system_instructions system_text system_content "
            "sys_prompt developer developer_message preamble preprompt instructions custom_instructions"
        ),
        "Call it `system`",
        lambda value: isinstance(value, (bool, int, float)),
    ),
    Meaning(  # inside an object: a layout reads it beside the turns
        "contains a system prompt",
        _names("system"),
        "Write it beside the turns of the row",
        of_answers=True,
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
        GOOD_ONLY,
    ),
    Meaning(
        "ranks the answer",
        _names("rank ranking"),
        "Keep only the best answers: {best}",
        of_answers=True,
    ),
    Meaning(
        "rates the answer",
        _names("grade stars likes dislikes thumbs_down downvote verdict judgement judgment"),
        GOOD_ONLY,
        pattern=re.compile(
            r"(?!category_scores)\w+_(scores?|ratings?|rewards?|feedback|votes?|grade|stars|quality|verdict)"
            r"|(score|rating|reward|feedback|grade)_(?!model)\w+|(eval|evaluation|judge|grader|review)_(result|label|outcome)"
        ),
        of_answers=True,
    ),
    Meaning(
        "says which of two answers is better",
        _names("winner preference overall_preference preferred_index chosen_index better which_better"),
        "Put the better answer of each row under `chosen`",
        of_answers=True,
    ),
    Meaning(
        "says how sure the answer or label is",
        _names("confidence label_confidence annotator_confidence confidence_score certainty agreement"),
        SURE_ONLY,
        is_one,
        re.compile(
            r"(answer|response|completion|output|label|prediction|annotators?|model|inter_annotator)"
            r"_(confidence|certainty|agreement)"
        ),
    ),
    Meaning(
        "marks the row as removed",
        _names(
            "deleted is_deleted removed is_removed discarded is_discarded invalid is_invalid excluded "
            "is_excluded hidden is_hidden flagged is_flagged skipped ignored was_cancelled"
        ),
        "Keep the others: {without}",
        lambda value: not is_true(value),
    ),
    Meaning(
        "marks the row as removed",
        _names("status"),
        "Keep the others: {without}",
        lambda value: not isinstance(value, str) or value.strip().lower() not in REMOVED,
        re.compile(
            r"(\w+_)?(annotation|review|assignment|label|record|response|submission|task|qa|approval|validation|"
            r"moderation|answer|row|item)_(status|state)"
        ),
    ),
    Meaning(  # the time of a removal: deleted_at, deletedDateTime
        "marks the row as removed",
        instead="Keep the others: {none}",
        neutral=lambda value: value in (0, False) or is_no(value),
        pattern=re.compile(
            r"(deleted|removed|discarded|trashed|retracted|revoked)_(at|on|date|datetime|date_time|time|timestamp|by)"
        ),
    ),
    Meaning(
        "says that the row is not to be used",
        _names("valid is_valid approved is_approved usable is_usable include included keep"),
        "Keep the others: {where}",
        lambda value: not is_no(value),
    ),
    Meaning(
        "marks a failed call, whose answer may be none",
        _names("level"),
        "Keep the others: {without}",
        lambda value: (
            not isinstance(value, str) or value.strip().lower() not in ("error", "critical", "fatal")
        ),
        of_answers=True,
    ),
    Meaning(
        "marks a note that the other side does not see",
        _names("private is_private internal is_internal internal_note private_note is_note"),
        "Remove the notes",
        lambda value: not is_true(value),
        of_answers=True,
    ),
    Meaning(
        "marks a note that the other side does not see",
        _names("public is_public"),
        "Remove the notes",
        lambda value: not is_no(value),
        of_answers=True,
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
        "says that the answer is bad",
        _names("helpful is_helpful passed pass is_pass success is_success successful"),
        "Train on the good rows only: {where}",
        lambda value: not is_no(value),
        of_answers=True,
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
        passed,
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
ANOTHER_ANSWER = replace(
    OTHER_ANSWER, names=frozenset(), neutral=is_short, pattern=ANOTHER, of_answers=True, text=True
)
SURENESS = Meaning("says how sure the answer or label is", instead=SURE_ONLY, neutral=is_one)
MEDIA = next(one for one in MEANINGS if "images" in one.names)
TURNS = Meaning(
    "contains turns that are not read",
    instead="Put them before the others, as `messages`, or name the column with FIELDS=",
    of_answers=True,
    text=True,
)
# These are read by every layout that can: a turn's weight, earlier turns, a system prompt.
WEIGHTS = ("weight", "loss_weight", "train", "training", "trainable", "learn", "loss")
HISTORY = ("history", "chat_history", "dialogue_history", "previous_messages")
SYSTEM = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "sys_prompt",
    "preamble",
    "instructions",
)
MEANING_OF = {name: meaning for meaning in MEANINGS for name in meaning.names}
PATTERNS = [*(meaning for meaning in MEANINGS if meaning.pattern), ANOTHER_ANSWER]
