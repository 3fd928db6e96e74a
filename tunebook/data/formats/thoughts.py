"""Reasoning of an assistant turn, in a field of its own or in a think block before the answer.

In: a turn as a file has it. Out: its reasoning and its text without it. Both are the same after reading, so
that the base model's chat template writes the reasoning in its own form. `source.reasoning: true` of
dataset.yaml asks for it; otherwise the field is refused (fields.py) and a think block stays in the text.
"""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import RowFault
from tunebook.data.formats.values import is_empty, plain_name
from tunebook.data.thinking.form import USUAL

# Fields with the reasoning as text; `reasoning_details` has it in parts, and is refused unless dropped.
FIELDS = frozenset(
    "reasoning_content reasoning thinking thinking_content thought thoughts chain_of_thought cot".split()
)
PART_TYPES = ("thinking", "reasoning", "redacted_thinking")
OPEN, CLOSE = USUAL.opening, USUAL.closing


def field_of(item: dict[Any, Any]) -> str | None:
    """Return the name of the field of a turn or row that has reasoning, or None."""
    named = (name for name in item if isinstance(name, str) and plain_name(name) in FIELDS)
    return next((name for name in named if isinstance(item[name], str) and not is_empty(item[name])), None)


def without_parts(value: list[Any]) -> tuple[list[str], list[Any]]:
    """Return the reasoning in the parts of a turn, as Anthropic's API writes it, and the other parts."""
    thoughts, others = list[str](), list[Any]()
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        texts = [part.get(key) for key in (kind, "text", "value")] if kind in PART_TYPES else []
        text = next((text for text in texts if isinstance(text, str)), None)
        if isinstance(text, str):
            thoughts.append(text)
        else:
            others.append(part)
    return thoughts, others


def split(text: str, at: str) -> tuple[str, str]:
    """Return the reasoning in the think block at the beginning of a text, "" if there is none, and the text
    behind it. A block may lack its opening mark, where the template of the model that wrote it has it in the
    prompt.

    Raises:
        RowFault: a block is opened and not closed, so that there is no answer.
    """
    before, closed, after = text.partition(CLOSE)
    if closed and (OPEN not in before or before.lstrip().startswith(OPEN)):
        return before.replace(OPEN, "", 1).strip(), after.strip()
    if text.lstrip().startswith(OPEN):
        message = f"opens {OPEN} and does not close it, so there is no answer. Drop the row."
        raise RowFault(at, message, "rows.unfinished_thinking")
    return "", text


def joined(field: str | None, inside: str, item: dict[Any, Any], at: str) -> str:
    """Return the reasoning of a turn that may have it in a `field` and `inside` its text.

    Raises:
        RowFault: it has both, and they differ.
    """
    own = str(item[field]).strip() if field else ""
    if own and inside and own != inside:
        message = f"differs from the reasoning between {OPEN} and {CLOSE} in the text. Remove one of them."
        raise RowFault(f"{at}.{field}", message, "rows.two_thoughts")
    return own or inside
