"""Chat-template tokens inside row text, such as `<|im_end|>`: found, and made plain text on request.

In: texts of rows. Out: the tokens in them, recognized by their form, for any model; and the texts with each
token broken by a space (`< |im_end|>`), which no tokenizer reads as a special token. `special_tokens: escape`
in dataset.yaml does this when rows are rendered, so that training, evaluation and `tunebook predict` see the
same text, and the model learns to write the tokens that way.
"""

from __future__ import annotations

import re
from typing import Any

MARK = re.compile(
    r"<[|\uff5c][^<>|\uff5c\s][^<>|\uff5c]{0,60}[|\uff5c]>"  # <|im_end|>, DeepSeek's with wide bars
    r"|</?(?:s|bos|eos|pad|unk|mask|cls|sep|eot|eod)>"
    r"|</?(?:start|end|begin)_of_\w{1,20}>|<unused\d+>|<extra_id_\d+>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|CLS|SEP|PAD|MASK|UNK"
    r"|gMASK|sop)\]|<</?SYS>>"
)
# Markers that a template treats as content: reasoning, calls and pictures are not turns.
CONTENT = re.compile(
    r"think|tool|function|image|vision|video|audio|object|box|quad|fim|repo|file", re.IGNORECASE
)


def marks_in(text: str) -> set[str]:
    """Return the chat-template tokens in a text."""
    return set(MARK.findall(text)) if "<" in text or "[" in text else set()


def of_template(template: str) -> set[str]:
    """Return the tokens with which a chat template starts and ends turns."""
    return {mark for mark in marks_in(template) if not CONTENT.search(mark)}


def escaped(value: Any) -> Any:
    """Return a text, or the texts in lists and objects, with each token broken by a space."""
    if isinstance(value, str):
        return MARK.sub(lambda found: f"{found[0][0]} {found[0][1:]}", value)
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value
