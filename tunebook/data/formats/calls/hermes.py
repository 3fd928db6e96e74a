"""Tool calls written in the text of a turn, as in Nous Research's Hermes function-calling data.

In: the text of a turn. Out: its calls and the text around them, so that the base model's chat template writes
the calls in its own format (Qwen's is the same). The tools listed in the system prompt stay there.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from tunebook.core.files import from_json

CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
RESULT = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)
LISTED = "<tools>"  # starts the list of tools in a system prompt


def calls_in(text: str) -> tuple[str, list[Any]] | None:
    """Return the text without its calls, and the calls; None unless every <tool_call> contains an object with
    a name and arguments, as JSON or as a Python dict, and no text follows the calls."""
    bodies = [_loaded(body) for body in CALL.findall(text)]
    if not bodies or not all(isinstance(body, dict) and {"name", "arguments"} <= {*body} for body in bodies):
        return None
    around = CALL.sub("\n", text)
    ends = CALL.split(text)[-1]
    return None if ends.strip() else (around.strip(), bodies)


def result_in(text: str) -> str:
    """Return the result inside a <tool_response>; return any other text unchanged."""
    found = RESULT.fullmatch(text)
    return found[1] if found and "<tool_response>" not in found[1] else text


def _loaded(text: str) -> Any:
    for read in (from_json, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
