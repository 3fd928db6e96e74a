"""The lines that load a model: Python that runs, in the precision of the evaluation."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tunebook.models.methods import HEAD_PLUGIN
from tunebook.report.loading import loading

CASES: list[tuple[dict[str, Any], str, list[str], list[str]]] = [
    ({}, "float32", ["from_pretrained('model', dtype=torch.float32)"], ["PeftModel"]),
    ({"adapter": "lora"}, "bfloat16", ["dtype=torch.bfloat16", "PeftModel.from_pretrained"], ["resize"]),
    ({"adapter": "qlora", "load_in_4bit": True}, "bfloat16", ["load_in_4bit=True", "nf4"], []),
    ({"adapter": "lora", "load_in_8bit": True}, "bfloat16", ["load_in_8bit=True"], []),
    ({"adapter": "lora", "revision_of_model": "abc"}, "float32", ["revision='abc'"], []),
    ({"adapter": "lora", "tokens": ["<x>"]}, "float32", ["resize_token_embeddings"], []),
    (
        {"adapter": "lora", "plugins": [HEAD_PLUGIN]},
        "float32",
        ["SequenceClassification", "num_labels=3"],
        [],
    ),
    ({"adapter": "bottleneck", "bottleneck_size": 8}, "float32", ["tunebook.plugins.bottleneck"], []),
]


@pytest.mark.parametrize(("config", "precision", "there", "missing"), CASES)
def test_the_lines(config: dict[str, Any], precision: str, there: list[str], missing: list[str]) -> None:
    text = ast.unparse(ast.parse(loading(config, "owner/base", precision, 3, "model")))
    assert all(part in text for part in [*there, f"dtype=torch.{precision}"]), text
    assert not any(part in text for part in missing)
