"""A classification head in place of a generated label: `tunebook.head.plugin.ClassificationHead`.

A linear layer on the last token's state, one output a label. The rows and the prompt are those of the
generative recipes: the head reads the very ids after which those begin to write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tunebook.dataset import Dataset
from tunebook.errors import InputError

if TYPE_CHECKING:
    from tunebook.resolve import Resolved

PLUGIN = "tunebook.head.plugin.ClassificationHead"
MODEL_TYPE = "AutoModelForSequenceClassification"


def used(config: dict[str, Any]) -> bool:
    """Whether `config` trains a classification head."""
    return PLUGIN in (config.get("plugins") or [])


def with_labels(resolved: Resolved, dataset: Dataset) -> Resolved:
    """Return `resolved` with the labels of `dataset` as `class_labels`, in the order of the outputs, for a
    run that trains a head.

    Raises:
        InputError: the dataset has no labels.
    """
    if not used(resolved.config):
        return resolved
    if not dataset.labels:
        raise InputError(f"plugins: {PLUGIN} needs a dataset with labels; datasets/{dataset.name} has none.")
    labels = {"class_labels": dataset.labels}
    return replace(resolved, config=resolved.config | labels, identity=resolved.identity | labels)
