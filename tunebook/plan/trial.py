"""How long a trial run takes on an idle machine without a GPU, from the number of tokens trained on and
read."""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import InputError
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.lengths import about
from tunebook.hardware.memory_settings import setting
from tunebook.models import shapes
from tunebook.models.trial_model import NAME as TRIAL_BASE
from tunebook.plan.hours import forward_flops, step_flops, work
from tunebook.plan.rows import Rows
from tunebook.runs.rows import RenderedRow

# Tokens per second of the trial base model with LoRA, in training and in reading prompts, at about 200 tokens
# per row on two cores. Without bf16: measured on AVX2. With bf16: from the published runs.
SPEEDS = {False: (137.0, 850.0), True: (450.0, 1200.0)}
MEASURED_AT = 200
START = 40.0  # seconds before the first step
PROMPTINGS, CONTENDERS = 4, 3  # on dev, on test


def minutes(trained: float, read: float, length: float, config: dict[str, Any]) -> float:
    """Return the minutes of a trial run with `config`; the time grows with base model size and attention
    length.

    Args:
        trained, read: tokens trained on, and tokens of prompts read in the evaluation.
        length: tokens per row.

    Raises:
        InputError: the shape of the base model is not known.
    """
    shape, usual = shapes.find(str(config["base_model"])), shapes.find(TRIAL_BASE)
    lora = setting({"adapter": "lora", "attn_implementation": "eager"})
    train = step_flops(shape, setting(config), length) / step_flops(usual, lora, MEASURED_AT)
    answer = forward_flops(shape, length) / forward_flops(usual, MEASURED_AT)
    trains, reads = SPEEDS[bool(config.get("bf16"))]
    return (START + trained * train / trains + read * answer / reads) / 60


def run_minutes(rows: dict[Split, list[RenderedRow]], config: dict[str, Any]) -> float | None:
    """Return the minutes of a trial run on `rows` as sampled, or None if its base model is not known."""
    sizes = {split: about(rows[split]) for split in SPLITS}
    counts = {split: len(rows[split]) for split in SPLITS}
    longest = max(map(max, sizes.values()))
    known = Rows(
        **counts,
        lengths=tuple(sizes["train"]),
        longest=longest,
        batch=longest,
        answer=0,
        longest_answer=0,
        prompt=longest,
        source="drawn",
    )
    todo = work(config, known, 1)
    read = float(PROMPTINGS * sum(sizes["dev"]) + CONTENDERS * sum(sizes["test"]))
    if todo is None:
        return None
    if todo.pairs:
        read += todo.tokens  # the reference model processes the rows as well
    try:
        return minutes(todo.tokens, read + todo.dev_tokens, todo.length, config)
    except InputError:
        return None
