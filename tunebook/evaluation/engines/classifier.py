"""A trained classification head as an engine: scores of all labels."""

from __future__ import annotations

from typing import Any

import torch

from tunebook.evaluation.engines.protocol import Engine, Ids


class HeadLM(Engine):
    """Runs jobs of the kind `classify`; a head writes no text."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.net = model.eval()
        self.tokenizer = tokenizer
        self.net.config.pad_token_id = tokenizer.pad_token_id  # pad_token_id shows the model where a row ends

    @torch.inference_mode()
    def classify(self, contexts: list[Ids]) -> list[list[float]]:
        batch = self.tokenizer.pad({"input_ids": contexts}, padding_side="right", return_tensors="pt")
        logits = self.net(**batch.to(self.net.device)).logits
        return logits.float().log_softmax(dim=-1).tolist()
