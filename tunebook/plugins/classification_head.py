"""An Axolotl plugin that trains a classification head on rendered rows.

It requires `model_type: AutoModelForSequenceClassification`. Axolotl's own `reward_model` would force a
single output and preference pairs.
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
    """The labels in the order of the head's outputs; default: the labels in the dataset's dataset.yaml."""


class ClassificationHead(BasePlugin):
    """Encodes each row as token ids and a label index, and sets the size and the initial weights of the
    head."""

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
        """Initialize the head if the base model has none: on a bf16 base model, transformers' own
        initialization is lost in a copy, which leaves uninitialized memory."""
        if not any("SequenceClassification" in name for name in model.config.architectures or []):
            model.score.weight.data.normal_(0, model.config.initializer_range)

    def post_model_load(self, cfg: Any, model: Any) -> None:
        # pad_token_id shows the model where a row ends
        model.config.pad_token_id = load_tokenizer(cfg).pad_token_id

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        trainer.compute_metrics = accuracy


def accuracy(outputs: Any) -> dict[str, float]:
    """Return the share of rows whose highest output belongs to the right label."""
    return {"accuracy": float((np.argmax(outputs.predictions, axis=-1) == outputs.label_ids).mean())}


def encode(path: Path, encoder: PromptEncoder, cfg: Any) -> Dataset:
    """Return `input_ids`, `attention_mask` and `labels` of the rendered rows in `path`.

    Raises:
        ValueError: an unknown label, or a row longer than `sequence_len` with `excess_length_strategy:
            raise`; with `drop`, long rows are dropped.
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
                    f"{path}: row {row['id']}: has {len(ids)} tokens, but sequence_len is {cfg.sequence_len}."
                )
            continue
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": number[label]})
    return Dataset.from_list(rows)
