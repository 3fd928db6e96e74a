"""Axolotl plugins, named in a recipe as `tunebook.plugins.NAME`. They run inside a training process.

In: Axolotl's config and hooks. Out: features that Axolotl lacks (seeded weights, token-mean loss, other
adapters, a classification head, reasoning, progress). May import: core, models, runs, data, and torch, which
the packages above do not need.
"""

from __future__ import annotations

import importlib
from typing import Any

# Axolotl finds a plugin by its dotted name. Each is imported on first use, because most need torch, which
# checking a recipe does not. DevMetric runs the evaluation, a layer above, so this table only names it.
HOMES = {
    "SeededInit": "tunebook.plugins.training",
    "TokenMean": "tunebook.plugins.training",
    "Float32Weights": "tunebook.plugins.training",
    "CPUArguments": "tunebook.plugins.training",
    "PreferencePrompts": "tunebook.plugins.training",
    "Progress": "tunebook.plugins.training",
    "Measure": "tunebook.plugins.training",
    "Adapters": "tunebook.plugins.adapters",
    "ClassificationHead": "tunebook.plugins.classification_head",
    "LoftQ": "tunebook.plugins.loftq",
    "TextOnly": "tunebook.plugins.text_only",
    "Thinking": "tunebook.plugins.thinking",
    "DevMetric": "tunebook.evaluation.dev_metric",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)
