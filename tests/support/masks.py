"""What Axolotl learns of the same conversations under every family's template, in one process.

    python -m tests.support.masks FOLDER    # writes masks.json: family -> conversation -> learned texts

The import takes half a minute, so it is paid once for all families.
"""

from __future__ import annotations

import copy
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.support.families import FAMILIES, family_tokenizer
from tunebook.models.registry import model_table

# Families whose template reads `tools`. Phi-4-mini and Olmo 3 take theirs from keys of the system message
# that rows of ours do not have, SmolLM2 has none, and MiniCPM5 writes each call twice.
WITH_TOOLS = {"qwen3", "qwen3-base", "qwen3-instruct", "qwen3.5", "granite"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "tide",
        "description": "High water at a quay.",
        "parameters": {"type": "object", "properties": {"quay": {"type": "string"}}},
    },
}
CALL = {"type": "function", "function": {"name": "tide", "arguments": {"quay": "Low Quay"}}}
TALKS: dict[str, dict[str, Any]] = {
    "single": {
        "messages": [
            {"role": "user", "content": "Where does the Wend rise?"},
            {"role": "assistant", "content": "On Crake Fell."},
        ]
    },
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where does the Wend rise?"},
            {"role": "assistant", "content": "On Crake Fell."},
        ]
    },
    "turns": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where does the Wend rise?"},
            {"role": "assistant", "content": "On Crake Fell."},
            {"role": "user", "content": "And where does it end?"},
            {"role": "assistant", "content": "In the sea:\nat Low Quay, 17.30 m wide."},
        ]
    },
    "tools": {
        "tools": [WEATHER],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "When is high water at Low Quay?"},
            {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
            {"role": "tool", "content": "17.30"},
            {"role": "assistant", "content": "At 17.30."},
        ],
    },
    "call": {
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": "When is high water at Low Quay?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ],
    },
}


def make(folder: Path) -> dict[str, Any]:
    """Return what Axolotl learns of TALKS, {family: {talk: ...}}, with bases made in `folder`; and as
    `compared`, what a run says of all talks of a family, as they are and with a hole in each."""
    from tests.support.prepared_rows import compared
    from tunebook.data.prompt import PromptEncoder
    from tunebook.data.stretches import faults
    from tunebook.data.tokenize import IGNORED, AxolotlMask

    found: dict[str, Any] = {"compared": {}}
    models = {facts["family"]: facts["axolotl"] for facts in model_table().values()}
    for family in FAMILIES:
        told = {key: value for key, value in models[family].items() if value is not None}
        base = str(family_tokenizer(family, folder / family))
        data = [
            {"path": "rows.jsonl", "ds_type": "json", "type": "chat_template", "field_messages": "messages"}
        ]
        mask = AxolotlMask({**told, "base_model": base, "datasets": data, "sequence_len": 2048, "seed": 42})
        found[family] = {}
        for name, talk in TALKS.items():
            ids, labels = mask.row(talk)
            learned = []
            for is_learned, part in groupby(zip(ids, labels, strict=True), lambda pair: pair[1] != IGNORED):
                if is_learned:
                    learned.append(mask.tokenizer.decode([id for id, _ in part]))
            found[family][name] = {"learned": learned, "text": mask.tokenizer.decode(ids)}
            found[family][name]["faults"] = faults(mask.tokenizer, talk, ids, labels)
            places = [n for n, label in enumerate(labels) if label != IGNORED]
            hole = places[-3] if places else None
            cut = [IGNORED if n == hole else label for n, label in enumerate(labels)]
            found[family][name]["cut"] = faults(mask.tokenizer, talk, ids, cut)
        rows = [
            {**talk, "id": name, "tools": json.dumps(talk["tools"])}
            if "tools" in talk
            else {**talk, "id": name}
            for name, talk in TALKS.items()
            if family in WITH_TOOLS or "tools" not in talk
        ]
        encoder = PromptEncoder(mask.tokenizer, told.get("chat_template_kwargs"))
        made = [mask.row(copy.deepcopy(row)) for row in rows]
        holes = [(ids, [*labels]) for ids, labels in made]
        for _, labels in holes:
            places = [n for n, label in enumerate(labels) if label != IGNORED]
            labels[places[-3]] = IGNORED
        found["compared"][family] = {
            kind: vars(compared(folder, rows, some[::-1], encoder)) | {"all": len(rows)}
            for kind, some in (("right", made), ("holes", holes))
        }
    return found
