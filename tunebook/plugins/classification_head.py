"""The Axolotl plugin that trains a classification head on rendered rows.

It goes with `model_type: AutoModelForSequenceClassification`. Axolotl's own `reward_model` would force
one output and preference pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.integrations.base import BasePlugin
from axolotl.loaders import load_tokenizer
from axolotl.utils.trainer import calculate_total_num_steps
from pydantic import BaseModel
from transformers import DataCollatorWithPadding

from datasets import Dataset  # type: ignore[attr-defined]
from tunebook.data import dataset
from tunebook.data.prompt import PromptEncoder
from tunebook.runs.rows import read_rows


class HeadArguments(BaseModel):
    """The YAML keys of the plugin."""

    class_labels: list[str] | None = None
    """The labels in the order of the head's outputs; default: those of the dataset.yaml beside the rows."""


class ClassificationHead(BasePlugin):
    """Encodes each row as token ids and a label number, and gives the head its size and first weights."""

    def get_input_args(self) -> str:
        return "tunebook.plugins.classification_head.HeadArguments"

    def register(self, cfg: Any) -> None:
        if not cfg.get("class_labels"):
            folder = Path(cfg["datasets"][0]["path"]).parent.parent
            cfg["class_labels"] = dataset.load_dataset_config(folder.name).labels
        if not cfg["class_labels"]:
            raise ValueError("class_labels: the dataset has no labels, which a classification head needs.")
        cfg["num_labels"] = len(cfg["class_labels"])

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> TrainDatasetMeta:
        tokenizer = load_tokenizer(cfg)
        encoder = PromptEncoder(tokenizer, cfg.chat_template_kwargs)
        train, dev = (
            encode(Path(entries[0]["path"]), encoder, cfg) if entries else None
            for entries in (cfg.datasets, cfg.test_datasets)
        )
        assert train is not None
        steps = calculate_total_num_steps(cfg, train)
        return TrainDatasetMeta(train, dev, min(steps, cfg.max_steps) if cfg.max_steps else steps)

    def get_collator_cls_and_kwargs(self, cfg: Any, is_eval: bool = False) -> tuple[type, dict[str, Any]]:
        return DataCollatorWithPadding, {}

    def post_model_build(self, cfg: Any, model: Any) -> None:
        """Initialize the head of a base that has none: on a bf16 base, transformers' own initialization is
        lost in a copy, which leaves uninitialized memory."""
        if not any("SequenceClassification" in name for name in model.config.architectures or []):
            model.score.weight.data.normal_(0, model.config.initializer_range)

    def post_model_load(self, cfg: Any, model: Any) -> None:
        model.config.pad_token_id = load_tokenizer(cfg).pad_token_id  # marks where a row ends

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        trainer.compute_metrics = accuracy


def accuracy(outputs: Any) -> dict[str, float]:
    """Return the share of rows whose highest output is that of the label."""
    return {"accuracy": float((np.argmax(outputs.predictions, axis=-1) == outputs.label_ids).mean())}


def encode(path: Path, encoder: PromptEncoder, cfg: Any) -> Dataset:
    """Return `input_ids`, `attention_mask` and `labels` of the rendered rows in `path`.

    Raises:
        ValueError: a label that the head does not have, or a row longer than `sequence_len` under
            `excess_length_strategy: raise`; under `drop`, such rows are left out.
    """
    number = {label: index for index, label in enumerate(cfg.class_labels)}
    rows = []
    for row in read_rows(path):
        ids, label = encoder.context(row["messages"][:-1]), row["gold"]["answer"]
        if label not in number:
            raise ValueError(f"{path}: row {row['id']}: {label!r} is not one of class_labels.")
        if len(ids) > cfg.sequence_len:
            if cfg.excess_length_strategy == "raise":
                raise ValueError(
                    f"{path}: row {row['id']}: {len(ids)} tokens, sequence_len is {cfg.sequence_len}."
                )
            continue
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": number[label]})
    return Dataset.from_list(rows)
