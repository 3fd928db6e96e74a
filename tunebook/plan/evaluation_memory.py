"""GPU memory needed to evaluate a model: weights, key-value cache and logits."""

from __future__ import annotations

from collections.abc import Iterable

from tunebook.evaluation.jobs import Kind, batch_rows
from tunebook.hardware.memory import FRAMEWORK, GIB, base_bytes
from tunebook.hardware.memory_settings import Setting
from tunebook.models.architecture import Shape


def evaluation(
    shape: Shape, s: Setting, prompts: Iterable[int], answer: int, new: int, ranked: int = 0
) -> tuple[dict[str, float], str]:
    """Return the memory in GiB needed to evaluate the base model (in 16 bits, or in the 4 or 8 bits that
    training loads), by component, for the batch that needs the most; and a description of that batch.

    Args:
        prompts: prompt lengths in tokens, including few-shot examples, that may fill a batch: the mean of the
            longest rows, and the longest row.
        answer: tokens of the longest scored reference answer; 0 for none.
        new: maximum number of generated tokens.
        ranked: tokens of all labels together; 0 if no labels are ranked.

    The cache keeps keys and values of each layer (Pope et al. 2022, arXiv 2211.05102, section 2); batches are
    formed as in tunebook/evaluation/jobs.py; scoring computes logits for the answer only, ranking for all
    labels at once.
    """
    sizes: list[tuple[Kind, int]] = [("generate", new), ("score", answer), ("rank", ranked)]
    batches = [
        (_batch(shape, kind, prompt, more), kind, prompt, more)
        for prompt in prompts
        for kind, more in sizes
        if more
    ]
    largest, kind, prompt, more = max(batches, key=lambda batch: sum(batch[0]))
    quantised = s.weights in ("4bit", "8bit")
    weights = base_bytes(shape, s) if quantised else shape.parameters * 2.0
    parts = {"weights": weights, "framework": FRAMEWORK * GIB}
    parts |= dict(zip(("KV cache", "activations", "logits"), largest, strict=True))
    rows = batch_rows(kind, prompt, more)
    words = f"{rows} row{'' if rows == 1 else 's'} of {prompt + more:,} tokens ({kind})"
    return {name: value / GIB for name, value in parts.items()}, words


def _batch(shape: Shape, kind: Kind, prompt: int, more: int) -> tuple[float, float, float]:
    """Return the bytes of cache, activations and logits of a batch: rows of `prompt` plus `more` tokens."""
    rows, vocab = batch_rows(kind, prompt, more), shape.vocab
    working = rows * (2 * 3 * shape.widest + 4 * shape.hidden)
    if kind == "generate":
        cache = rows * ((prompt + more) * shape.cache_width * 2 + _state(shape))
        return float(cache), float(prompt * working), 0.0
    if kind == "score":  # all logits in 16 bits, those of one row in 32 bits
        logits = float(rows * (more + 1) * vocab * 2 + more * vocab * 8)
    else:
        logits = float(rows * (more + 1) * vocab * 10)
    return 0.0, float((prompt + more) * working), logits


def _state(shape: Shape) -> int:
    """Return the bytes that linear attention keeps of one row, however long it is: a matrix in fp32 for each
    value head."""
    delta = shape.delta
    if delta is None:
        return 0
    return sum(layer.count for layer in shape.kinds if layer.delta) * delta.values * delta.key_dim * 4
