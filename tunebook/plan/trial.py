"""How long a trial takes on an idle machine without a GPU, from the tokens that it trains on and reads."""

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

# Tokens a second of the trial's base with LoRA, in training and in reading prompts, at about 200 tokens a
# row on two cores. Without bf16: measured on AVX2. With it: by what the published runs took.
SPEEDS = {False: (137.0, 850.0), True: (450.0, 1200.0)}
MEASURED_AT = 200
START = 40.0  # seconds until the first step
PROMPTINGS, CONTENDERS = 4, 3  # on dev, on test


def minutes(trained: float, read: float, length: float, config: dict[str, Any]) -> float:
    """Return the minutes of a trial under `config`, slower as the base and attention grow.

    Args:
        trained, read: tokens of training and of the evaluation's prompts.
        length: tokens of a row.

    Raises:
        InputError: the shape of the base is not known.
    """
    shape, usual = shapes.find(str(config["base_model"])), shapes.find(TRIAL_BASE)
    lora = setting({"adapter": "lora", "attn_implementation": "eager"})
    train = step_flops(shape, setting(config), length) / step_flops(usual, lora, MEASURED_AT)
    answer = forward_flops(shape, length) / forward_flops(usual, MEASURED_AT)
    trains, reads = SPEEDS[bool(config.get("bf16"))]
    return (START + trained * train / trains + read * answer / reads) / 60


def run_minutes(rows: dict[Split, list[RenderedRow]], config: dict[str, Any]) -> float | None:
    """Return the minutes of a trial on `rows` as they were drawn, None where its base is not known."""
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
        read += todo.tokens  # the reference model reads them
    try:
        return minutes(todo.tokens, read + todo.dev_tokens, todo.length, config)
    except InputError:
        return None
